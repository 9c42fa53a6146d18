"""The three encodings of which there is one or more for every job, written octet by octet: four times as fast.

They give the very octets that the general way (`fields`, and the protobuf runtime) gives; tests hold them to that. What
is out of the ordinary (an error, a value outside its limit) is left to the general way, which names what is wrong.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from aisops_protocol import limits
from aisops_protocol.messages import JobAccept, JobResult, RunnerFrame

__all__ = ["frame_of_sealed", "job_accept", "job_result", "varint"]

_is_id = re.compile(limits.ID_PATTERN).fullmatch
_NUMBERS: Final = tuple(
    bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7]) for number in range(1 << 14)
)
_SESSION: Final = b"\x1a\x10"
_CRITICAL: Final = b"\x18\x01"
_ONE_OCTET_ARMS: Final = range(10, 16)


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    if number < 1 << 14:
        return _NUMBERS[number]
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def job_accept(body: JobAccept) -> bytes | None:
    """A JobAccept in its envelope, without the envelope's own fields; None: ask the general way."""
    job_id, lease_id, attempt = body.job_id, body.lease_id, body.attempt
    if not _is_id(job_id) or len(lease_id) != 16 or not 1 <= attempt <= limits.ATTEMPTS:
        return None
    inner = b"\x0a%b%b\x12\x10%b\x18%b" % (_NUMBERS[len(job_id)], job_id.encode(), lease_id, varint(attempt))
    return b"\x62%b%b" % (varint(len(inner)), inner)


def job_result(body: JobResult) -> bytes | None:
    """A JobResult without error in its envelope, without the envelope's own fields; None: ask the general way."""
    job_id, lease_id, attempt, output = body.job_id, body.lease_id, body.attempt, body.output
    ran = body.execution
    started, lasted = ran.started_unix_ms, ran.duration_ms
    program = _program(ran.plugin, ran.plugin_version, ran.sidecar_pid)
    if (
        body.error is not None
        or not _is_id(job_id)
        or len(lease_id) != 16
        or not 1 <= attempt <= limits.ATTEMPTS
        or len(output) > limits.RESULT_INLINE_BYTES
        or program is None
        or not 0 <= ran.calls <= limits.SEQ
        or not 0 <= started <= limits.UNIX_MS
        or not 0 <= lasted <= limits.SEQ
    ):
        return None
    execution = b"%b%b%b%b" % (
        program,
        b"\x20" + varint(ran.calls) if ran.calls else b"",
        b"\x28" + varint(started) if started else b"",
        b"\x30" + varint(lasted) if lasted else b"",
    )
    inner = b"\x0a%b%b\x12\x10%b\x18%b%b%b\x3a%b%b%b" % (
        _NUMBERS[len(job_id)],
        job_id.encode(),
        lease_id,
        varint(attempt),
        b"\x20" + varint(int(body.status)) if body.status else b"",
        b"\x2a%b%b" % (varint(len(output)), output) if output else b"",
        varint(len(execution)),
        execution,
        b"\x40\x01" if body.truncated else b"",
    )
    return b"\x72%b%b" % (varint(len(inner)), inner)


@lru_cache(maxsize=64)
def _program(plugin: str, version: str, pid: int) -> bytes | None:
    """What ran a job, as the head of an ExecutionInfo: few programs run all of them. None: ask the general way."""
    if plugin and not _is_id(plugin):
        return None
    if not version.isascii() or "\0" in version or len(version) > limits.NAME_BYTES or not 0 <= pid <= limits.SEQ:
        return None
    return b"%b%b%b" % (
        b"\x0a%b%b" % (varint(len(plugin)), plugin.encode()) if plugin else b"",
        b"\x12%b%b" % (varint(len(version)), version.encode()) if version else b"",
        b"\x18" + varint(pid) if pid else b"",
    )


def frame_of_sealed(frame: RunnerFrame) -> bytes | None:
    """A frame in which every envelope holds a stored body; None: ask the general way."""
    tenant_id, runner_id, session_id = frame.tenant_id, frame.runner_id, frame.session_id
    if not _is_id(tenant_id) or not _is_id(runner_id) or len(session_id) not in (0, 16):
        return None
    if not frame.envelopes or len(frame.envelopes) > limits.FRAME_ENVELOPES:
        return None
    parts = [
        b"\x0a%b%b\x12%b%b" % (varint(len(tenant_id)), tenant_id.encode(), varint(len(runner_id)), runner_id.encode()),
        _SESSION + session_id if session_id else b"",
    ]
    for envelope in frame.envelopes:
        sealed, seq, message_id = envelope.sealed, envelope.seq, envelope.message_id
        if not sealed or not 1 <= seq <= limits.SEQ or len(message_id) != 16 or not _is_one_field(sealed):
            return None
        head = b"\x08%b\x12\x10%b%b" % (varint(seq), message_id, _CRITICAL if envelope.critical else b"")
        parts.append(b"\x22%b%b" % (varint(len(head) + len(sealed)), head))
        parts.append(sealed)
    return b"".join(parts)


def _is_one_field(sealed: bytes) -> bool:
    """Whether a stored body is one length-delimited field with a tag of a body, to its last octet."""
    tag, place = sealed[0], 1
    if tag & 7 != 2:
        return False
    if tag & 128:
        if len(sealed) < 3 or sealed[1] & 128:
            return False
        place = 2
    elif tag >> 3 not in _ONE_OCTET_ARMS:
        return False
    length = shift = 0
    for octet in sealed[place : place + 4]:
        place += 1
        length |= (octet & 127) << shift
        shift += 7
        if octet < 128:
            return len(sealed) - place == length
    return False
