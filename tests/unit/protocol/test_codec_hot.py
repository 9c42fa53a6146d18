"""The encodings written by hand give the octets of the general way, or leave the work to it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_protocol import limits
from aisops_protocol.codec import (
    decode_core_frame,
    decode_runner_frame,
    encode_core_frame,
    encode_runner_body,
    encode_runner_frame,
    frames,
    hot,
)
from aisops_protocol.errors import LocalProtocolError
from aisops_protocol.messages import (
    Ack,
    CoreEnvelope,
    CoreFrame,
    EffectClass,
    ExecutionInfo,
    Job,
    JobAccept,
    JobError,
    JobResult,
    LogEvent,
    LogLevel,
    ResultStatus,
    RunnerEnvelope,
    RunnerFrame,
)

IDS = st.text("ABCxyz019._:-", min_size=1, max_size=limits.ID_CHARS)
TOKENS = st.binary(min_size=16, max_size=16)
ATTEMPTS = st.integers(1, limits.ATTEMPTS)
NUMBERS = st.integers(0, limits.SEQ) | st.integers(0, 300)
RAN = st.builds(
    ExecutionInfo,
    plugin=st.just("") | IDS,
    plugin_version=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    sidecar_pid=NUMBERS,
    calls=NUMBERS,
    started_unix_ms=st.integers(0, limits.UNIX_MS),
    duration_ms=NUMBERS,
)
RESULTS = st.builds(
    JobResult,
    job_id=IDS,
    lease_id=TOKENS,
    attempt=ATTEMPTS,
    status=st.sampled_from(ResultStatus),
    output=st.binary(max_size=300) | st.integers(16_000, 40_000).map(bytes),
    error=st.none() | st.just(JobError("failed", "why")),
    execution=RAN,
    truncated=st.booleans(),
)


def general(body: JobAccept | JobResult) -> bytes:
    octets: bytes = frames._alone(body).SerializeToString()
    return octets


@given(st.builds(JobAccept, IDS, TOKENS, ATTEMPTS))
def test_a_job_accept_is_the_same(body: JobAccept) -> None:
    assert hot.job_accept(body) == general(body)


@given(RESULTS)
def test_a_job_result_is_the_same(body: JobResult) -> None:
    octets = hot.job_result(body)
    assert octets is None or octets == general(body)
    assert encode_runner_body(body) == general(body)
    if body.error is None and body.execution.plugin_version.isascii():
        assert octets is not None


GOOD = JobResult("j", b"l" * 16, 1, ResultStatus.SUCCEEDED, b"{}", execution=ExecutionInfo("p", "1", 7, 1, 5, 9))


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": ""}, {"job_id": "a b"}, {"lease_id": b"short"}, {"attempt": 0}, {"attempt": limits.ATTEMPTS + 1},
        {"output": bytes(limits.RESULT_INLINE_BYTES + 1)}, {"execution": ExecutionInfo("a b")},
        {"execution": ExecutionInfo("p", "1\0")}, {"execution": ExecutionInfo("p", "x" * 257)},
        {"execution": ExecutionInfo("p", "1", -1)}, {"execution": ExecutionInfo("p", "1", 1, limits.SEQ + 1)},
        {"execution": ExecutionInfo("p", "1", 1, 1, limits.UNIX_MS + 1)},
        {"execution": ExecutionInfo("p", "1", 1, 1, 1, -1)},
    ],
)  # fmt: skip
def test_what_breaks_a_limit_is_refused_by_name_as_ever(change: dict[str, object]) -> None:
    bad = replace(GOOD, **change)  # type: ignore[arg-type]
    assert hot.job_result(bad) is None
    with pytest.raises(LocalProtocolError, match="field job_result"):
        encode_runner_body(bad)


@given(st.lists(st.tuples(RESULTS, st.integers(1, limits.SEQ), TOKENS, st.booleans()), min_size=1, max_size=5), TOKENS)
def test_a_frame_of_stored_bodies_is_the_same(items: list[tuple[JobResult, int, bytes, bool]], session: bytes) -> None:
    envelopes = tuple(RunnerEnvelope(None, seq, name, more, encode_runner_body(b)) for b, seq, name, more in items)
    frame = RunnerFrame("t", "r", envelopes, session)
    octets = hot.frame_of_sealed(frame)
    assert octets is not None
    opened = tuple(RunnerEnvelope(b, seq, name, critical) for b, seq, name, critical in items)
    assert octets == encode_runner_frame(replace(frame, envelopes=opened))
    assert decode_runner_frame(octets) == replace(frame, envelopes=opened)


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 70_000])
def test_bodies_of_every_length_are_one_field(size: int) -> None:
    line = LogEvent(LogLevel.INFO, "x" * min(size, limits.LOG_TEXT_BYTES), 1)
    sealed = encode_runner_body(line)
    frame = RunnerFrame("t", "r", (RunnerEnvelope(None, 1, b"m" * 16, sealed=sealed),))
    assert hot.frame_of_sealed(frame) is not None


@pytest.mark.parametrize(
    "sealed",
    [b"\x72", b"\x72\x05ab", b"\x72\x01ab", b"\x08\x01", b"\x0a\x01a", b"\xff\xff\xff", b"\x72" + b"\xff" * 5],
)
def test_a_stored_body_that_is_no_single_field_is_left_to_the_general_way(sealed: bytes) -> None:
    frame = RunnerFrame("t", "r", (RunnerEnvelope(None, 1, b"m" * 16, sealed=sealed),))
    assert hot.frame_of_sealed(frame) is None


def test_a_frame_that_is_too_large_is_refused_as_ever() -> None:
    sealed = encode_runner_body(replace(GOOD, output=bytes(limits.RESULT_INLINE_BYTES)))
    frame = RunnerFrame("t", "r", tuple(RunnerEnvelope(None, n, b"m" * 16, sealed=sealed) for n in range(1, 18)))
    with pytest.raises(LocalProtocolError, match="octets, more than"):
        encode_runner_frame(frame)


JOBS = st.builds(
    Job,
    job_id=IDS,
    lease_id=TOKENS,
    attempt=ATTEMPTS,
    capability=IDS,
    input=st.binary(max_size=300) | st.integers(16_000, 40_000).map(bytes),
    input_sha256=st.binary(min_size=32, max_size=32),
    effect_key=st.text("!az~", min_size=1, max_size=limits.EFFECT_KEY_CHARS),
    effect_class=st.sampled_from(EffectClass),
    timeout_ms=st.integers(1, limits.DURATION_MS),
    lease_ms=st.integers(1, limits.DURATION_MS),
    start_by_ms=st.integers(0, limits.DURATION_MS),
    priority=st.integers(-limits.PRIORITY, limits.PRIORITY),
    execution_id=st.just("") | IDS,
    step_id=st.just("") | IDS,
    trace_context=st.just(()) | st.just((("traceparent", "00-1"),)),
)


def core_frame(*bodies: Job | Ack, first: int = 1) -> CoreFrame:
    numbered = tuple(CoreEnvelope(body, first + at) for at, body in enumerate(bodies))
    return CoreFrame("t", "r", numbered, b"s" * 16)


def generally(frame: CoreFrame) -> bytes:
    octets: bytes = frames._built(frames.pb.CoreMessage, frame, frames._write_core_envelope).SerializeToString()
    return octets


@given(st.lists(JOBS | st.just(Ack(b"e" * 16, 7)), max_size=4), st.integers(1, limits.SEQ - 4))
def test_a_frame_of_jobs_is_the_same(bodies: list[Job | Ack], first: int) -> None:
    frame = core_frame(*bodies, first=first)
    assert encode_core_frame(frame) == generally(frame)
    assert decode_core_frame(encode_core_frame(frame)) == frame
    plain = all(isinstance(body, Job) and not body.trace_context for body in bodies)
    assert not plain or frames._frame_of_jobs(frame) is not None


WORK = Job("j", b"l" * 16, 1, "c", b"{}", b"h" * 32, "j", EffectClass.IDEMPOTENT, 1000)


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": ""}, {"job_id": "a b"}, {"lease_id": b"short"}, {"attempt": 0}, {"attempt": limits.ATTEMPTS + 1},
        {"capability": ""}, {"capability": "a/b"}, {"input": bytes(limits.JOB_INPUT_BYTES + 1)}, {"input_sha256": b""},
        {"effect_key": ""}, {"effect_key": "a b"}, {"timeout_ms": 0}, {"timeout_ms": limits.DURATION_MS + 1},
        {"lease_ms": 0}, {"lease_ms": limits.DURATION_MS + 1}, {"start_by_ms": -1}, {"priority": limits.PRIORITY + 1},
        {"priority": -limits.PRIORITY - 1}, {"execution_id": "a b"}, {"step_id": "a b"},
    ],
)  # fmt: skip
def test_a_job_outside_its_limits_is_refused_as_ever(change: dict[str, object]) -> None:
    frame = core_frame(WORK, replace(WORK, **change))
    assert frames._frame_of_jobs(frame) is None
    with pytest.raises(LocalProtocolError) as said:
        encode_core_frame(frame)
    assert f"envelopes[1].job.{next(iter(change))}" in str(said.value)
