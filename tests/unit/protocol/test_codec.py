"""The codec keeps every limit in both directions, survives anything, and its octets never change."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisops_protocol import codec, limits
from aisops_protocol import messages as m
from aisops_protocol.codec.fields import Shape, ident
from aisops_protocol.errors import LocalProtocolError, RemoteProtocolError
from aisopsflow.core.runner.v1 import runner_pb2 as pb
from tests.unit.protocol import examples as ex
from tests.unit.protocol.spec import LINKED, SPEC, message, raw

BODIES = {**{f"runner.{arm}": body for arm, body in ex.RUNNER.items()},
          **{f"core.{arm}": body for arm, body in ex.CORE_BODIES.items()}}  # fmt: skip
GOLDEN = json.loads(ex.GOLDEN.read_text())
WHOLE = {type(body): body for body in (*BODIES.values(), *ex.PARTS)}
CARRIERS: dict[type[Any], Any] = {
    m.Capability: lambda part: replace(ex.RUNNER["hello"], capabilities=(part,)),
    m.HeldJob: lambda part: replace(ex.RUNNER["hello"], held_jobs=(part,)),
    m.EpochStart: lambda part: replace(ex.RUNNER["hello"], previous_epochs=(part,), epoch_start_seq=limits.SEQ,
                                       next_seq=limits.SEQ, queue_epoch=b"q" * 16),
    m.QueueStats: lambda part: replace(ex.RUNNER["heartbeat"], queue_stats=part),
    m.JobError: lambda part: replace(ex.RUNNER["job_result"], error=part),
    m.ExecutionInfo: lambda part: replace(ex.RUNNER["job_result"], execution=part),
    m.JobVerdict: lambda part: replace(ex.CORE_BODIES["welcome"], job_verdicts=(part,)),
}  # fmt: skip
CASES = [(kind, name) for kind, spec in SPEC.items() for name in spec]
quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def is_core(body: object) -> bool:
    return type(body) in {type(each) for each in ex.CORE_BODIES.values()}


def encode(body: Any) -> bytes:
    return (
        codec.encode_core_frame(ex.core_frame(body))
        if is_core(body)
        else codec.encode_runner_frame(ex.runner_frame(body))
    )


def decode(data: bytes, like: Any) -> Any:
    frame = codec.decode_core_frame(data) if is_core(like) else codec.decode_runner_frame(data)
    return frame.envelopes[0].body


def forged(body: Any) -> bytes:
    """Octets of a frame with this body, made without the codec and its checks."""
    arm = next(arm for arm, each in (*ex.RUNNER.items(), *ex.CORE_BODIES.items()) if type(each) is type(body))
    head = {"tenant_id": "t_default", "runner_id": "runner-1", "session_id": ex.SESSION}
    if is_core(body):
        return pb.CoreMessage(**head, envelopes=[{"core_seq": 3, "critical": True, arm: raw(body)}]).SerializeToString()
    envelope = {"seq": 3, "message_id": ex.MESSAGE, "critical": True, arm: raw(body)}
    return pb.RunnerMessage(**head, envelopes=[envelope]).SerializeToString()


# --- what is written down ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ex.written_down())
def test_the_octets_of_a_released_message_never_change(name: str) -> None:
    body = ex.written_down()[name]
    assert encode(body).hex() == GOLDEN[name], "the wire contract changed: only additions are compatible"
    assert decode(bytes.fromhex(GOLDEN[name]), body) == body


def test_the_golden_file_names_every_arm_of_both_envelopes_and_nothing_else() -> None:
    arms = {f"runner.{f.name}" for f in pb.RunnerEnvelope.DESCRIPTOR.oneofs_by_name["body"].fields}
    arms |= {f"core.{f.name}" for f in pb.CoreEnvelope.DESCRIPTOR.oneofs_by_name["body"].fields}
    assert set(BODIES) == arms
    assert set(GOLDEN) == set(ex.written_down()) == arms | {f"{name}+" for name in ex.RELEASED}


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)
def test_dataclass_protobuf_message_example_and_limits_table_have_the_same_fields(kind: type[Any]) -> None:
    names = [field.name for field in fields(kind)]
    descriptor = pb.DESCRIPTOR.message_types_by_name[kind.__name__]
    assert names == [field.name for field in descriptor.fields]
    assert set(names) == set(SPEC[kind])
    empty = [name for name in names if not getattr(WHOLE[kind], name)]
    assert not empty, "an example must fill every field, or its golden octets would not notice a change"


ENUMS = (m.EffectClass, m.JobPhase, m.ResultStatus, m.RejectReason, m.Verdict, m.CancelMode, m.CancelPhase, m.LogLevel)


@pytest.mark.parametrize("enum", [*ENUMS, m.MessageClass], ids=lambda kind: kind.__name__)
def test_enums_have_the_same_numbers_on_both_sides(enum: Any) -> None:
    wire = pb.DESCRIPTOR.enum_types_by_name[enum.__name__]
    prefix = "".join(f"_{c}" if c.isupper() else c for c in enum.__name__).upper().lstrip("_")
    assert {value.name: value.number for value in wire.values} == {f"{prefix}_{e.name}": e.value for e in enum}
    assert enum(0).name == "UNSPECIFIED"


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
def test_every_valid_message_comes_back_equal(name: str) -> None:
    @quick
    @given(message(type(BODIES[name])))
    def check(body: Any) -> None:
        data = encode(body)
        assert data == forged(body), "the codec and an independent encoder agree"
        assert decode(data, body) == body
        if not is_core(body):
            stored = codec.encode_runner_body(body)
            assert codec.decode_runner_body(stored) == body
            assert codec.encoded_size(body) == len(stored)

    check()


def test_stored_bodies_travel_unopened_and_keep_the_numbers_of_their_envelope() -> None:
    stored = codec.encode_runner_body(ex.RUNNER["job_result"])
    tricky = stored + pb.RunnerEnvelope(seq=99).SerializeToString()
    for sealed in (stored, tricky):
        envelope = m.RunnerEnvelope(None, 5, ex.MESSAGE, sealed=sealed)
        data = codec.encode_runner_frame(m.RunnerFrame("t", "r", (envelope,)))
        assert codec.decode_runner_frame(data).envelopes == (m.RunnerEnvelope(ex.RUNNER["job_result"], 5, ex.MESSAGE),)
    broken = m.RunnerFrame("t", "r", (m.RunnerEnvelope(None, 5, sealed=b"\xff\xff"),))
    with pytest.raises(LocalProtocolError, match="stored message 5 is damaged"):
        codec.encode_runner_frame(broken)


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind.__name__}.{name}" for kind, name in CASES])
def test_a_field_takes_its_limits_and_nothing_beyond(kind: type[Any], name: str) -> None:
    carry = CARRIERS.get(kind, lambda whole: whole)
    if (kind, name) not in LINKED:
        for good in SPEC[kind][name].good:
            body = carry(replace(WHOLE[kind], **{name: good}))
            assert decode(encode(body), body) == body
    for bad in SPEC[kind][name].bad:
        body = carry(replace(WHOLE[kind], **{name: bad}))
        with pytest.raises(LocalProtocolError) as local:
            encode(body)
        assert local.value.code == "INVALID"
        assert name in local.value.message
        try:
            data = forged(body)
        except (ValueError, UnicodeError):
            continue  # protobuf itself cannot say this
        with pytest.raises(RemoteProtocolError) as remote:
            decode(data, body)
        assert remote.value.code == "INVALID"
        assert name in remote.value.message


HELLO = ex.RUNNER["hello"]
assert isinstance(HELLO, m.Hello)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (replace(HELLO, protocol_min=3), "hello.protocol_max"),
        (replace(HELLO, next_seq=39, oldest_unacked_seq=1), "hello.next_seq"),
        (replace(HELLO, oldest_unacked_seq=51), "hello.oldest_unacked_seq"),
        (replace(HELLO, previous_epochs=HELLO.previous_epochs[::-1]), "hello.previous_epochs"),
        (replace(HELLO, previous_epochs=(m.EpochStart(ex.OLDER, 41),)), "hello.previous_epochs"),
        (replace(HELLO, previous_epochs=(m.EpochStart(ex.EPOCH, 1),)), "hello.previous_epochs"),
        (replace(HELLO, previous_epochs=(m.EpochStart(ex.OLDER, 1),) * 2), "hello.previous_epochs"),
        (m.Skip(5, 4, m.MessageClass.DROPPABLE, 1), "skip.to_seq"),
        (m.GapReport(5, 4, "x"), "gap_report.to_seq"),
        (m.ResultChunk("job", ex.LEASE, 2, 2, b"x"), "result_chunk.index"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(body: m.RunnerBody, field: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"INVALID: field envelopes.0.\\.{field} "):
        encode(body)
    with pytest.raises(RemoteProtocolError, match=f"INVALID: field envelopes.0.\\.{field} "):
        decode(forged(body), body)


@pytest.mark.parametrize(
    "change", [{"tenant_id": "a/b"}, {"tenant_id": ""}, {"runner_id": "x" * 129}, {"session_id": b"1"}]
)
def test_ids_of_a_frame_are_checked(change: dict[str, Any]) -> None:
    field = next(iter(change))
    for frame, send, kind, receive in (
        (ex.runner_frame(HELLO), codec.encode_runner_frame, pb.RunnerMessage, codec.decode_runner_frame),
        (ex.core_frame(ex.ACK), codec.encode_core_frame, pb.CoreMessage, codec.decode_core_frame),
    ):
        with pytest.raises(LocalProtocolError, match=f"field {field} "):
            send(replace(frame, **change))  # type: ignore[operator, type-var]
        with pytest.raises(RemoteProtocolError, match=f"field {field} "):
            receive(kind(**{"tenant_id": "t", "runner_id": "r", **change}).SerializeToString())


def test_an_error_deep_inside_names_the_way_there() -> None:
    bad = replace(HELLO, held_jobs=(ex.HELD, replace(ex.HELD, job_id="a b")))
    frame = m.RunnerFrame("t", "r", (m.RunnerEnvelope(ex.RUNNER["event"]), m.RunnerEnvelope(bad)))
    with pytest.raises(LocalProtocolError, match=r"field envelopes\[1\]\.hello\.held_jobs\[1\]\.job_id is not"):
        codec.encode_runner_frame(frame)
    with pytest.raises(RemoteProtocolError, match=r"field envelopes\[0\]\.hello\.held_jobs\[1\]\.job_id is not"):
        decode(forged(bad), bad)


def test_a_stored_or_single_message_is_checked_alike() -> None:
    bad = replace(ex.RUNNER["job_accept"], job_id="a b")
    for encode_one in (codec.encode_runner_body, codec.encoded_size):
        with pytest.raises(LocalProtocolError, match=r"INVALID: field job_accept\.job_id "):
            encode_one(bad)
    data = pb.RunnerEnvelope(job_accept=raw(bad)).SerializeToString()
    with pytest.raises(RemoteProtocolError, match=r"INVALID: field job_accept\.job_id "):
        codec.decode_runner_body(data)


def test_rules_that_do_not_fit_their_dataclass_are_found_at_import() -> None:
    with pytest.raises(TypeError, match="the rules of Ping"):
        Shape(m.Ping, ident("nunce"))


def test_envelope_fields_and_counts_are_checked() -> None:
    for envelope, name in (
        (m.RunnerEnvelope(HELLO, -1), "seq"),
        (m.RunnerEnvelope(HELLO, 2**63), "seq"),
        (m.RunnerEnvelope(HELLO, 1, b"short"), "message_id"),
        (m.RunnerEnvelope(None, 1), "body"),
    ):
        with pytest.raises(LocalProtocolError, match=rf"field envelopes\[0\]\.{name} "):
            codec.encode_runner_frame(m.RunnerFrame("t", "r", (envelope,)))
    for wire in ({"seq": 2**63}, {"message_id": b"short"}):
        frame = pb.RunnerMessage(tenant_id="t", runner_id="r", envelopes=[wire])
        with pytest.raises(RemoteProtocolError, match=rf"field envelopes\[0\]\.{next(iter(wire))} "):
            codec.decode_runner_frame(frame.SerializeToString())
    with pytest.raises(LocalProtocolError, match=r"field envelopes\[0\]\.core_seq "):
        codec.encode_core_frame(m.CoreFrame("t", "r", (m.CoreEnvelope(ex.ACK, -1),)))
    many = pb.CoreMessage(tenant_id="t", runner_id="r", envelopes=[{}] * 4097).SerializeToString()
    with pytest.raises(RemoteProtocolError, match="field envelopes has more than 4096 entries"):
        codec.decode_core_frame(many)


def test_a_frame_above_4_mib_is_refused_before_it_is_parsed_and_before_it_is_sent() -> None:
    for receive in (codec.decode_runner_frame, codec.decode_core_frame, codec.decode_runner_body):
        with pytest.raises(RemoteProtocolError) as remote:
            receive(b"\0" * (4 * 1024 * 1024 + 1))
        assert remote.value.code == "TOO_LARGE"
    big = replace(ex.CORE_BODIES["job"], input=b"x" * (1024 * 1024))
    with pytest.raises(LocalProtocolError) as local:
        codec.encode_core_frame(m.CoreFrame("t", "r", (m.CoreEnvelope(big, 1),) * 4))
    assert local.value.code == "TOO_LARGE"


def test_a_message_too_large_for_any_frame_is_refused_when_it_is_enqueued() -> None:
    wide = m.Capability("a", "b", "c", input_schema=b"x" * 65_536)
    with pytest.raises(LocalProtocolError) as local:
        codec.encode_runner_body(replace(HELLO, capabilities=(wide,) * 60))
    assert local.value.code == "TOO_LARGE"


# --- evolution --------------------------------------------------------------------------------------------------------


def test_an_enum_value_of_a_newer_version_reads_as_unspecified() -> None:
    seen = 0
    for name, body in BODIES.items():
        arm = name.split(".")[1]
        for field in pb.DESCRIPTOR.message_types_by_name[type(body).__name__].fields:
            if field.type == FieldDescriptor.TYPE_ENUM:
                forged_body = {**raw(body), field.name: 4711}
                kind = pb.CoreMessage if is_core(body) else pb.RunnerMessage
                data = kind(tenant_id="t", runner_id="r", envelopes=[{arm: forged_body}]).SerializeToString()
                assert getattr(decode(data, body), field.name) == 0
                seen += 1
    assert seen >= 6


@pytest.mark.parametrize("critical", [False, True])
def test_a_message_of_a_newer_version_reads_as_an_envelope_without_body(critical: bool) -> None:
    unknown = b"\xfa\x07\x02\x08\x01"  # field 127, a message this version does not know
    head = pb.RunnerEnvelope(seq=7, critical=critical).SerializeToString()
    frame = pb.RunnerMessage(tenant_id="t", runner_id="r", envelopes=[pb.RunnerEnvelope.FromString(head + unknown)])
    assert codec.decode_runner_frame(frame.SerializeToString()).envelopes == (m.RunnerEnvelope(None, 7, b"", critical),)
    core = pb.CoreMessage(tenant_id="t", runner_id="r", envelopes=[{"core_seq": 2, "critical": critical}])
    assert codec.decode_core_frame(core.SerializeToString()).envelopes == (m.CoreEnvelope(None, 2, critical),)
    assert codec.decode_runner_body(unknown) is None


def test_fields_of_a_newer_version_are_left_alone() -> None:
    data = bytes.fromhex(GOLDEN["runner.job_accept"]) + b"\x80\x7d\x01"  # field 2000 of the frame
    assert codec.decode_runner_frame(data) == ex.runner_frame(ex.RUNNER["job_accept"])


# --- hostile ----------------------------------------------------------------------------------------------------------


def survives(data: bytes) -> None:
    for receive in (codec.decode_runner_frame, codec.decode_core_frame, codec.decode_runner_body):
        with contextlib.suppress(RemoteProtocolError):
            receive(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused_and_never_crashes(data: bytes) -> None:
    survives(data)


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(sorted(GOLDEN)),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=6),
    st.integers(0, 2**16),
)
def test_damaged_frames_are_refused_and_never_crash(name: str, flips: list[tuple[int, int]], cut: int) -> None:
    data = bytearray.fromhex(GOLDEN[name])
    for position, value in flips:
        data[position % len(data)] = value
    survives(bytes(data[: cut % (len(data) + 1)] if cut % 3 == 0 else data))


def test_deep_nesting_and_bad_utf8_are_refused() -> None:
    nested = b""
    for _ in range(200):
        size = len(nested)
        nested = b"\x22" + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + nested
    survives(nested)
    with pytest.raises(RemoteProtocolError, match="INVALID"):
        codec.decode_runner_frame(b"\x0a\x02\xff\xfe")


def test_the_method_path_is_the_one_of_the_service_in_the_proto_file() -> None:
    service = pb.DESCRIPTOR.services_by_name["CoreRunner"]
    assert service.full_name == codec.SERVICE_NAME
    assert f"/{service.full_name}/{service.methods[0].name}" == codec.METHOD_PATH
    assert codec.METHOD == "Connect"
