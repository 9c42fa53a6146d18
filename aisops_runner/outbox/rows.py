"""One message of the durable lane as it is stored: its identity, its checksum, its class. Pure."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from aisops_protocol.messages import Heartbeat, JobAccept, LogEvent, MessageClass, RunnerBody, Skip

_HEAD = struct.Struct(">QQqq")
_OVERHEAD_BYTES = 64  # what SQLite and the envelope add to a payload, roughly


class Draft(NamedTuple):
    """A message on its way into the lane: no number yet.

    Attributes:
        payload: The message as `codec.encode_runner_body` wrote it.
        message_class: What may be done with it under pressure.
        level: Severity of a droppable message; lower goes first.
        slot: Coalescing key: a newer draft replaces the unsent older row of the same slot. Empty: never.
        skip: The message itself when it is a Skip.
        patient: Nobody waits for it: it may wait a moment for company on the wire.
    """

    payload: bytes
    message_class: MessageClass
    level: int = 0
    slot: str = ""
    skip: Skip | None = None
    patient: bool = False


class Row(NamedTuple):
    """A numbered message of the lane, still encoded. A Skip stands for low..seq, anything else for `seq` alone."""

    seq: int
    low: int
    payload: bytes
    message_id: bytes
    skip: Skip | None = None

    @property
    def cost(self) -> int:
        """Octets it is counted with against the size limit and the window."""
        return len(self.payload) + _OVERHEAD_BYTES


def classify(body: RunnerBody) -> tuple[MessageClass, int, str]:
    """The class, level and slot of a message: the one place that says what may be dropped."""
    if isinstance(body, LogEvent):
        return MessageClass.DROPPABLE, int(body.level), ""
    if isinstance(body, Heartbeat):
        return MessageClass.COALESCED, 0, "heartbeat"
    return MessageClass.NEVER_DROPPED, 0, ""


def is_patient(body: RunnerBody) -> bool:
    """Whether nobody waits for a message: then it goes with the next one, or a moment later.

    What a job that ends at once has to say then is one frame for the stream and one commit for Core.
    """
    return isinstance(body, (JobAccept, LogEvent))


def checksum(low: int, seq: int, message_class: int, is_skip: int, payload: bytes) -> int:
    """CRC-32 over everything that decides what a row means; -1 (which no row has) when a number is impossible."""
    try:
        head = _HEAD.pack(low, seq, message_class, is_skip)
    except struct.error:
        return -1
    return zlib.crc32(payload, zlib.crc32(head))


def cost_bytes(payload: bytes) -> int:
    """Octets a row is counted with against the size limit and the window."""
    return len(payload) + _OVERHEAD_BYTES


def message_ids(unix_ms: int, random10: bytes, count: int) -> list[bytes]:
    """UUIDv7s: 48 bits of time, then chance, from which those made together count up (RFC 9562, 6.2, method 2).

    Args:
        unix_ms: Wall clock in milliseconds.
        random10: Ten random octets.
        count: How many are wanted.
    """
    head = (unix_ms & 0xFFFFFFFFFFFF).to_bytes(6, "big")
    head += bytes((0x70 | (random10[0] & 0x0F), random10[1], 0x80 | (random10[2] & 0x3F))) + random10[3:6]
    first = int.from_bytes(random10[6:], "big") >> 1  # room to count
    return [head + number.to_bytes(4, "big") for number in range(first, first + count)]
