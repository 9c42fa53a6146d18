"""Frames and single messages to octets and back: the doors of the wire, where every limit is checked.

The gRPC ends register the four frame functions as their (de)serializers, so that their code sees our frames only.
Decoding is the validation: what comes out is inside every limit. An enum value this version does not know reads as
UNSPECIFIED, an unknown message as an envelope with body None; everything else that is not right is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

from google.protobuf.message import DecodeError

from aisops_protocol import limits
from aisops_protocol.codec import hot
from aisops_protocol.codec.core import CORE_ARMS
from aisops_protocol.codec.fields import Check, Invalid, Shape, count, each, ident, token
from aisops_protocol.codec.runner import RUNNER_ARMS
from aisops_protocol.errors import Code, LocalProtocolError, RemoteProtocolError
from aisops_protocol.messages import (
    CoreBody,
    CoreEnvelope,
    CoreFrame,
    Job,
    JobAccept,
    JobResult,
    RunnerBody,
    RunnerEnvelope,
    RunnerFrame,
)
from aisopsflow.core.runner.v1 import runner_pb2 as pb

__all__ = [
    "decode_core_frame",
    "decode_runner_body",
    "decode_runner_frame",
    "encode_core_frame",
    "encode_runner_body",
    "encode_runner_frame",
    "encoded_size",
]

T = TypeVar("T")
F = TypeVar("F", RunnerFrame, CoreFrame)

_id: Final[Check] = ident("id").read
_seq: Final[Check] = count("seq", limits.SEQ).read
_optional_token: Final[Check] = token("token", optional=True).read
_QUICK_RUNNER: Final[dict[str, Callable[[Any], Any]]] = {arm: shape.quick for arm, shape in RUNNER_ARMS.items()}
_BY_KIND: Final[dict[type, tuple[str, Shape[Any]]]] = {
    shape.kind: (arm, shape) for arm, shape in (*RUNNER_ARMS.items(), *CORE_ARMS.items())
}


def encode_runner_frame(frame: RunnerFrame) -> bytes:
    """The octets of a frame from Runner to Core.

    Raises:
        LocalProtocolError: INVALID when a field breaks its limit; TOO_LARGE above `limits.FRAME_BYTES` octets.
    """
    octets = hot.frame_of_sealed(frame)
    if octets is not None and len(octets) <= limits.FRAME_BYTES:
        return octets
    wire = _built(pb.RunnerMessage, frame, _write_runner_envelope)
    for item, envelope in zip(wire.envelopes, frame.envelopes, strict=True):
        if envelope.sealed:
            _unseal(item, envelope)
    return _octets(wire, limits.FRAME_BYTES, "frame")


def encode_core_frame(frame: CoreFrame) -> bytes:
    """The octets of a frame from Core to Runner.

    Raises:
        LocalProtocolError: INVALID when a field breaks its limit; TOO_LARGE above `limits.FRAME_BYTES` octets.
    """
    octets = _frame_of_jobs(frame)
    if octets is not None and len(octets) <= limits.FRAME_BYTES:
        return octets
    return _octets(_built(pb.CoreMessage, frame, _write_core_envelope), limits.FRAME_BYTES, "frame")


def decode_runner_frame(data: bytes) -> RunnerFrame:
    """The frame from Runner to Core in these octets; every field inside its limit.

    Raises:
        RemoteProtocolError: TOO_LARGE above `limits.FRAME_BYTES`; INVALID, naming the field, for anything else.
    """
    wire = _parsed(pb.RunnerMessage, data)
    try:
        return _quick_runner_frame(wire)
    except Invalid:  # once more, to say of what
        return _frame(RunnerFrame, wire, _read_runner_envelope)


def decode_core_frame(data: bytes) -> CoreFrame:
    """The frame from Core to Runner in these octets; every field inside its limit.

    Raises:
        RemoteProtocolError: TOO_LARGE above `limits.FRAME_BYTES`; INVALID, naming the field, for anything else.
    """
    return _frame(CoreFrame, _parsed(pb.CoreMessage, data), _read_core_envelope)


def encode_runner_body(body: RunnerBody) -> bytes:
    """One message in the form the outbox stores, ready for `RunnerEnvelope.sealed`.

    Raises:
        LocalProtocolError: INVALID when a field breaks its limit; TOO_LARGE above `limits.ENVELOPE_BYTES` octets.
            Said here, at enqueue, because an oversized row would kill every stream that tries to carry it.
    """
    octets: bytes | None = None
    if type(body) is JobResult:
        octets = hot.job_result(body)
    elif type(body) is JobAccept:
        octets = hot.job_accept(body)
    return octets or _octets(_alone(body), limits.ENVELOPE_BYTES, type(body).__name__)


def decode_runner_body(data: bytes) -> RunnerBody | None:
    """The message in a stored row; None when a newer version stored one that this version does not know.

    Raises:
        RemoteProtocolError: TOO_LARGE, or INVALID naming the field: the row is damaged.
    """
    wire = _parsed(pb.RunnerEnvelope, data)
    try:
        body: RunnerBody | None = _body(wire, RUNNER_ARMS)
    except Invalid as error:
        raise _named(error, RemoteProtocolError) from None
    return body


def encoded_size(body: RunnerBody | CoreBody) -> int:
    """Octets of this message on the wire, without the envelope's own fields (at most 40 more).

    Raises:
        LocalProtocolError: INVALID when a field breaks its limit.
    """
    size: int = _alone(body).ByteSize()
    return size


# --- writing ----------------------------------------------------------------------------------------------------------


def _built(kind: type[Any], frame: RunnerFrame | CoreFrame, write: Callable[[Any], dict[str, Any]]) -> Any:
    """The protobuf frame, made in one call from nested dicts."""
    try:
        return kind(
            tenant_id=_checked(_id, frame.tenant_id, "tenant_id"),
            runner_id=_checked(_id, frame.runner_id, "runner_id"),
            session_id=_checked(_optional_token, frame.session_id, "session_id"),
            envelopes=_listed(write, frame.envelopes),
        )
    except Invalid as error:
        raise _named(error, LocalProtocolError) from None


def _frame_of_jobs(frame: CoreFrame) -> bytes | None:
    """A frame that holds jobs, among whatever else; None: ask the general way, which also says what is wrong."""
    parts = [hot.frame_head(frame.tenant_id, frame.runner_id, frame.session_id)]
    if len(frame.envelopes) > limits.FRAME_ENVELOPES:
        return None
    for one in frame.envelopes:
        parts.append(hot.job(one, one.body) if type(one.body) is Job else _general(one))
        if parts[-1] is None:
            return None
    return None if parts[0] is None else b"".join(cast("list[bytes]", parts))


def _general(envelope: CoreEnvelope) -> bytes | None:
    """An envelope as a frame that has nothing else; None when something is wrong with it."""
    frame: Any = pb.CoreMessage
    try:
        octets: bytes = frame(envelopes=[_write_core_envelope(envelope)]).SerializeToString()
    except Invalid:
        return None
    return octets


def _write_runner_envelope(envelope: RunnerEnvelope) -> dict[str, Any]:
    wire = {} if envelope.sealed else _write(envelope.body)
    wire["seq"] = _checked(_seq, envelope.seq, "seq")
    wire["message_id"] = _checked(_optional_token, envelope.message_id, "message_id")
    wire["critical"] = envelope.critical
    return wire


def _write_core_envelope(envelope: CoreEnvelope) -> dict[str, Any]:
    wire = _write(envelope.body)
    wire["core_seq"] = _checked(_seq, envelope.core_seq, "core_seq")
    wire["critical"] = envelope.critical
    return wire


def _write(body: RunnerBody | CoreBody | None) -> dict[str, Any]:
    if body is None:
        raise Invalid("is missing").under("body")
    arm, shape = _BY_KIND[type(body)]
    try:
        return {arm: shape.write(body)}
    except Invalid as error:
        raise error.under(arm) from None


def _unseal(item: pb.RunnerEnvelope, envelope: RunnerEnvelope) -> None:
    """Put a stored body into its envelope as it is; the numbers stay those of the envelope."""
    try:
        item.MergeFromString(envelope.sealed)
    except DecodeError:
        raise LocalProtocolError(Code.INVALID, f"stored message {envelope.seq} is damaged") from None
    item.seq = envelope.seq


def _alone(body: RunnerBody | CoreBody) -> Any:
    try:
        wire = _write(body)
    except Invalid as error:
        raise _named(error, LocalProtocolError) from None
    return pb.RunnerEnvelope(**wire) if next(iter(wire)) in RUNNER_ARMS else pb.CoreEnvelope(**wire)


def _octets(wire: Any, most: int, what: str) -> bytes:
    data: bytes = wire.SerializeToString()
    if len(data) > most:
        raise LocalProtocolError(Code.TOO_LARGE, f"{what} has {len(data)} octets, more than {most}")
    return data


# --- reading ----------------------------------------------------------------------------------------------------------


def _parsed(kind: type[Any], data: bytes) -> Any:
    if len(data) > limits.FRAME_BYTES:
        raise RemoteProtocolError(Code.TOO_LARGE, f"{len(data)} octets, more than {limits.FRAME_BYTES}")
    try:
        return kind.FromString(data)
    except DecodeError:
        raise RemoteProtocolError(Code.INVALID, "not a protobuf message of this contract") from None


def _frame(kind: type[F], wire: Any, read: Callable[[Any], Any]) -> F:
    try:
        return kind(
            tenant_id=_checked(_id, wire.tenant_id, "tenant_id"),
            runner_id=_checked(_id, wire.runner_id, "runner_id"),
            session_id=_checked(_optional_token, wire.session_id, "session_id"),
            envelopes=tuple(_listed(read, wire.envelopes)),
        )
    except Invalid as error:
        raise _named(error, RemoteProtocolError) from None


def _quick_runner_frame(wire: pb.RunnerMessage) -> RunnerFrame:
    """The frame, in few calls an envelope; raises Invalid when something breaks its limit."""
    envelopes = wire.envelopes
    if len(envelopes) > limits.FRAME_ENVELOPES:
        raise Invalid("has too many entries")
    found = []
    for one in envelopes:
        arm, seq, message_id = one.WhichOneof("body"), one.seq, one.message_id
        if seq > limits.SEQ:
            raise Invalid("is too large")
        if message_id:
            _optional_token(message_id)
        body = None if arm is None else _QUICK_RUNNER[arm](getattr(one, arm))
        found.append(RunnerEnvelope(body, seq, message_id, one.critical))
    session_id = _optional_token(wire.session_id)
    return RunnerFrame(_id(wire.tenant_id), _id(wire.runner_id), tuple(found), session_id)


def _read_runner_envelope(wire: pb.RunnerEnvelope) -> RunnerEnvelope:
    seq, message_id = wire.seq, wire.message_id
    if seq > limits.SEQ:
        _checked(_seq, seq, "seq")
    if message_id:
        _checked(_optional_token, message_id, "message_id")
    return RunnerEnvelope(_body(wire, RUNNER_ARMS), seq, message_id, wire.critical)


def _read_core_envelope(wire: pb.CoreEnvelope) -> CoreEnvelope:
    return CoreEnvelope(_body(wire, CORE_ARMS), _checked(_seq, wire.core_seq, "core_seq"), wire.critical)


def _body(wire: Any, arms: dict[str, Shape[Any]]) -> Any:
    arm = wire.WhichOneof("body")
    if arm is None:
        return None
    try:
        return arms[arm].read(getattr(wire, arm))
    except Invalid as error:
        raise error.under(arm) from None


# --- both -------------------------------------------------------------------------------------------------------------


def _checked(check: Check, value: Any, name: str) -> Any:
    try:
        return check(value)
    except Invalid as error:
        raise error.under(name) from None


def _listed(convert: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
    try:
        return each(convert, items, limits.FRAME_ENVELOPES)
    except Invalid as error:
        raise error.under("envelopes") from None


def _named(error: Invalid, kind: type[LocalProtocolError | RemoteProtocolError]) -> Exception:
    return kind(Code.INVALID, f"field {error.path} {error.why}")
