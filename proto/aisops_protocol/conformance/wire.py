"""Octets that no codec of this version makes: unknown messages, unknown fields, unknown enum values. Pure.

A newer Core may send all of them inside v1, so a runner must read past them; they are written here field by field in
protobuf's wire format.
"""

from __future__ import annotations

from aisops_protocol.codec import encode_core_frame
from aisops_protocol.messages import CoreBody, CoreEnvelope, CoreFrame

__all__ = ["enum_value", "frame_of", "known", "octets_field", "unknown"]

UNKNOWN_ARM = 999
UNKNOWN_FIELD = 777
_CORE_SEQ, _CRITICAL, _ENVELOPES = 1, 2, 4


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def enum_value(field: int, value: int) -> bytes:
    """A number in a field: an enum value, for example."""
    return _varint(field << 3) + _varint(value)


def octets_field(field: int, data: bytes) -> bytes:
    """Octets, a text or a message in a field."""
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def unknown(core_seq: int, *, critical: bool) -> bytes:
    """An envelope with a message that no version so far has."""
    flag = enum_value(_CRITICAL, 1) if critical else b""
    return enum_value(_CORE_SEQ, core_seq) + flag + octets_field(UNKNOWN_ARM, octets_field(1, b"from a newer Core"))


def known(frame: CoreFrame, body: CoreBody, core_seq: int, arm: int, more: bytes) -> bytes:
    """An envelope with a known message and further fields of it.

    A later field of the same number overrides an earlier one, and two parts of a message are merged, so `more` can
    both add an unknown field and set a known one to a value that this version does not have.

    Args:
        frame: Any frame of the session; only its shape is used.
        body: The message as this version writes it.
        core_seq: Its number.
        arm: The field number of the message in the envelope.
        more: Fields to add to the message.
    """
    bare = CoreFrame(frame.tenant_id, frame.runner_id, (), frame.session_id)
    whole = CoreFrame(frame.tenant_id, frame.runner_id, (CoreEnvelope(body, core_seq),), frame.session_id)
    tagged = encode_core_frame(whole)[len(encode_core_frame(bare)) :]
    return _content(tagged) + octets_field(arm, more)


def frame_of(frame: CoreFrame, *envelopes: bytes) -> bytes:
    """A frame of the session that carries these envelopes."""
    head = encode_core_frame(CoreFrame(frame.tenant_id, frame.runner_id, (), frame.session_id))
    return head + b"".join(octets_field(_ENVELOPES, envelope) for envelope in envelopes)


def _content(tagged: bytes) -> bytes:
    """What stands behind a tag and a length."""
    at = 1
    while tagged[at] & 0x80:
        at += 1
    return tagged[at + 1 :]
