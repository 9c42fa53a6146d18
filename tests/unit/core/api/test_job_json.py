"""A job's JSON text is what its document says, whatever is in the record and whatever a Runner sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.api.documents import JobDocument, optional_timestamp
from aisops_core.api.job_json import job_json
from aisops_core.dispatch.job import JobRecord, JobState
from aisops_core.dispatch.output_room import OutputLeftOut
from aisops_protocol.messages import EffectClass
from tests.unit.core.dispatch.test_job import a_job

IDS = st.from_regex(r"[A-Za-z0-9._:-]{1,20}", fullmatch=True)
TIMES = st.none() | st.integers(1, 253_402_300_799_999)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    max_leaves=8,
)


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


RECORDS = st.builds(
    lambda **fields: replace(a_job(), **fields),
    state=st.sampled_from(JobState),
    effect_class=st.sampled_from(EffectClass),
    job_id=IDS,
    runner_id=st.none() | IDS,
    pinned_runner_id=st.none() | IDS,
    attempt=st.integers(1, 10),
    priority=st.integers(-100, 100),
    timeout_ms=st.integers(1, 2_592_000_000),
    created_unix_ms=st.integers(1, 253_402_300_799_999),
    leased_unix_ms=TIMES,
    started_unix_ms=TIMES,
    finished_unix_ms=TIMES,
    cancel_requested_unix_ms=TIMES,
    idempotency_key=st.none() | st.from_regex(r"[\x21-\x7e]{1,255}", fullmatch=True),
    error_code=st.none() | st.text(),
    error_message=st.text(),
    error_retryable=st.booleans(),
    error_ambiguous=st.booleans(),
    error_details=st.just(b"") | JSON.map(compact),
    plugin=st.text(),
    plugin_version=st.text(),
    sidecar_pid=st.integers(0, 2**31),
    calls=st.integers(0, 10),
    exec_started_unix_ms=st.integers(0, 10**12),
    duration_ms=st.integers(0, 10**6),
    truncated=st.booleans(),
    labels_json=st.dictionaries(st.text(min_size=1), st.text(), max_size=3).map(json.dumps),
    input=st.just(b"") | JSON.map(compact),
    output=st.none() | JSON.map(compact),
)


def value(data: bytes | None) -> Any:
    return json.loads(data) if data else None


def expected(job: JobRecord) -> dict[str, Any]:
    error = job.error and {
        "code": job.error.code,
        "message": job.error.message,
        "retryable": job.error.retryable,
        "ambiguous": job.error.ambiguous,
        "details": value(job.error.details),
    }
    execution = job.execution and {
        name: getattr(job.execution, name)
        for name in ("plugin", "plugin_version", "sidecar_pid", "calls", "duration_ms")
    }
    return {
        "id": job.job_id,
        "capability": job.capability,
        "state": job.state.value,
        "input": value(job.input),
        "labels": job.labels,
        "runner_id": job.runner_id or job.pinned_runner_id,
        "attempt": job.attempt,
        "effect_class": job.effect_class.name.lower(),
        "timeout_s": job.timeout_s,
        "priority": job.priority,
        "created_at": optional_timestamp(job.created_unix_ms),
        "leased_at": optional_timestamp(job.leased_unix_ms),
        "started_at": optional_timestamp(job.started_unix_ms),
        "finished_at": optional_timestamp(job.finished_unix_ms),
        "output": value(job.output),
        "output_truncated": job.truncated,
        "output_left_out": isinstance(job, OutputLeftOut),
        "error": error,
        "execution": execution,
        "cancel_requested": job.cancel_requested,
        "idempotency_key": job.idempotency_key,
        "late_results": [],
        "resolutions": [],
    }


@given(RECORDS)
def test_the_text_says_what_the_record_says_and_fits_the_contract(job: JobRecord) -> None:
    text = job_json(job)
    assert json.loads(text) == expected(job)
    assert list(json.loads(text)) == list(JobDocument.model_fields)
    JobDocument.model_validate_json(text.encode("utf-8", "surrogatepass"), strict=True)


@given(RECORDS)
def test_a_record_whose_output_was_left_out_says_so(job: JobRecord) -> None:
    copy = OutputLeftOut.of(job)
    found = json.loads(job_json(copy))
    assert (found["output"], found["output_left_out"]) == (None, True)
    assert found == expected(copy)


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'"\\ud800"', "\ud800"),
        (b"NaN", None),
        (b"[1e999,-Infinity,{}]", [None, None, {}]),
        (b"not json", "not json"),
        (b'{"a":1}}', '{"a":1}}'),
        (b'1,"state":"failed"', '1,"state":"failed"'),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"[" * 5000, "[" * 5000),
        (b" { } ", {}),
    ],
)
def test_an_output_that_is_not_strict_json_cannot_bend_the_document(output: bytes, shown: Any) -> None:
    text = job_json(replace(a_job("succeeded"), output=output))
    text.encode()
    assert json.loads(text)["output"] == shown
    assert json.loads(text)["state"] == "succeeded"
