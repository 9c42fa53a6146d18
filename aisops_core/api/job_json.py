"""A job as JSON text, written directly: what `JobDocument` describes, at a tenth of its cost.

Answers to submissions carry one of these for every job, so it is the hottest document there is. The input and the
output are JSON already and are put in as they are, once they have been found to be JSON that everybody reads alike.
`JobDocument` stays the contract (OpenAPI is made of it); a test holds the two to the same content.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from aisops_core.dispatch import strict_json
from aisops_core.dispatch.job import JobRecord, JobState
from aisops_core.dispatch.output_room import OutputLeftOut
from aisops_protocol.messages import EffectClass

_STATES: Final = {state: quoted(state.value) for state in JobState}
_EFFECTS: Final = {effect: quoted(effect.name.lower()) for effect in EffectClass}
_BOOLS: Final = {False: "false", True: "true"}


NOTHING_BESIDE: Final = '"late_results":[],"resolutions":[]'


def job_json(job: JobRecord, beside: str = NOTHING_BESIDE) -> str:
    """Return the JSON text of a job's document; `beside` is that of its late results and resolutions."""
    runner_id = job.runner_id or job.pinned_runner_id
    return (
        f'{{"id":{quoted(job.job_id)},"capability":{quoted(job.capability)},"state":{_STATES[job.state]},'
        f'"input":{input_json(job.input)},"labels":{job.labels_json},"runner_id":{_text(runner_id)},'
        f'"attempt":{job.attempt},"effect_class":{_EFFECTS[job.effect_class]},"timeout_s":{job.timeout_s!r},'
        f'"priority":{job.priority},"created_at":{_moment(job.created_unix_ms)},'
        f'"leased_at":{_moment(job.leased_unix_ms)},"started_at":{_moment(job.started_unix_ms)},'
        f'"finished_at":{_moment(job.finished_unix_ms)},"output":{output_json(job.output)},'
        f'"output_truncated":{_BOOLS[job.truncated]},"output_left_out":{_BOOLS[isinstance(job, OutputLeftOut)]},'
        f'"error":{_error(job)},"execution":{_execution(job)},'
        f'"cancel_requested":{_BOOLS[job.cancel_requested]},"idempotency_key":{_text(job.idempotency_key)},'
        f"{beside}}}"
    )


def input_json(data: bytes) -> str:
    """Return a stored input, which was made compact, strict JSON when it was taken in; `null` without one."""
    return data.decode() if data else "null"


def output_json(data: bytes | None) -> str:
    """Return what a Runner sent as JSON text: as it is when it is strict JSON, written anew when it is not."""
    if not data:
        return "null"
    return data.decode() if strict_json.is_strict(data) else _anew(data)


def _anew(data: bytes) -> str:
    """JSON of a laxer kind (a key given twice, half a surrogate pair) made strict; anything else as text."""
    try:
        return json.dumps(_finite(json.loads(data)))
    except (ValueError, RecursionError):
        return quoted(data.decode(errors="replace"))


def _finite(value: object) -> object:
    """NaN and Infinity, which JSON has not, become null."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list):
        return [_finite(part) for part in value]
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return value


def _text(text: str | None) -> str:
    return "null" if text is None else quoted(text)


@lru_cache(maxsize=4096)
def _moment(unix_ms: int | None) -> str:
    return f'"{_second(unix_ms // 1000)}.{unix_ms % 1000:03d}Z"' if unix_ms else "null"


def _second(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%S}"


def _error(job: JobRecord) -> str:
    if job.error_code is None:
        return "null"
    return (
        f'{{"code":{quoted(job.error_code)},"message":{quoted(job.error_message)},'
        f'"retryable":{_BOOLS[job.error_retryable]},"ambiguous":{_BOOLS[job.error_ambiguous]},'
        f'"details":{output_json(job.error_details)}}}'
    )


def _execution(job: JobRecord) -> str:
    if job.finished_unix_ms is None or not (job.plugin or job.calls or job.exec_started_unix_ms):
        return "null"
    return (
        f'{{"plugin":{quoted(job.plugin)},"plugin_version":{quoted(job.plugin_version)},'
        f'"sidecar_pid":{job.sidecar_pid},"calls":{job.calls},"duration_ms":{job.duration_ms}}}'
    )
