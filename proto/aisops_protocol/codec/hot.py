"""The encodings of which there is one or more for every job, written octet by octet: two to four times as fast.

They give the very octets that the general way (`fields`, and the protobuf runtime) gives; tests hold them to that. What
is out of the ordinary (an error, a value outside its limit) is left to the general way, which names what is wrong.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from aisops_protocol import limits
from aisops_protocol.messages import CoreEnvelope, Job, JobAccept, JobResult, RunnerFrame

__all__ = ["frame_head", "frame_of_sealed", "job", "job_accept", "job_result", "varint"]

_is_id = re.compile(limits.ID_PATTERN).fullmatch
_is_key = re.compile(rf"[!-~]{{1,{limits.EFFECT_KEY_CHARS}}}").fullmatch
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


def job(envelope: CoreEnvelope, body: Job) -> bytes | None:
    """A Job in its envelope, as a field of its frame; None: ask the general way."""
    job_id, lease_id, capability, data, key = body.job_id, body.lease_id, body.capability, body.input, body.effect_key
    if (
        envelope.critical
        or not 0 < envelope.core_seq <= limits.SEQ
        or not _is_id(job_id)
        or len(lease_id) != limits.TOKEN_BYTES
        or not 1 <= body.attempt <= limits.ATTEMPTS
        or not _is_id(capability)
        or len(data) > limits.JOB_INPUT_BYTES
        or len(body.input_sha256) != limits.HASH_BYTES
        or not _is_key(key)
        or body.trace_context
    ):
        return None
    how_long = body.timeout_ms, body.lease_ms, body.start_by_ms
    terms = _terms((int(body.effect_class), *how_long, body.priority, body.execution_id, body.step_id))
    if terms is None:
        return None
    inner = b"\x0a%b%b\x12\x10%b\x18%b\x22%b%b%b\x32\x20%b\x3a%b%b%b" % (
        _NUMBERS[len(job_id)],
        job_id.encode(),
        lease_id,
        varint(body.attempt),
        _NUMBERS[len(capability)],
        capability.encode(),
        b"\x2a%b%b" % (varint(len(data)), data) if data else b"",
        body.input_sha256,
        _NUMBERS[len(key)],
        key.encode(),
        terms,
    )
    head = b"\x08%b\x62%b" % (varint(envelope.core_seq), varint(len(inner)))
    return b"\x22%b%b%b" % (varint(len(head) + len(inner)), head, inner)


@lru_cache(maxsize=1024)
def _terms(terms: tuple[int, int, int, int, int, str, str]) -> bytes | None:
    """The fields of a Job that are the same for many, from effect_class on; None: ask the general way."""
    effect_class, timeout_ms, lease_ms, start_by_ms, priority, execution_id, step_id = terms
    if (
        not 1 <= timeout_ms <= limits.DURATION_MS
        or not 1 <= lease_ms <= limits.DURATION_MS
        or not 0 <= start_by_ms <= limits.DURATION_MS
        or not -limits.PRIORITY <= priority <= limits.PRIORITY
        or (execution_id and not _is_id(execution_id))
        or (step_id and not _is_id(step_id))
    ):
        return None
    return b"".join(
        (
            b"\x40" + varint(effect_class) if effect_class else b"",
            b"\x48" + varint(timeout_ms),
            b"\x50" + varint(lease_ms),
            b"\x58" + varint(start_by_ms) if start_by_ms else b"",
            b"\x60" + varint(2 * priority if priority > 0 else -2 * priority - 1) if priority else b"",
            b"\x6a%b%b" % (varint(len(execution_id)), execution_id.encode()) if execution_id else b"",
            b"\x72%b%b" % (varint(len(step_id)), step_id.encode()) if step_id else b"",
        )
    )


def frame_head(tenant_id: str, runner_id: str, session_id: bytes) -> bytes | None:
    """A frame without its envelopes; None: ask the general way."""
    if not _is_id(tenant_id) or not _is_id(runner_id) or len(session_id) not in (0, 16):
        return None
    ids = (varint(len(tenant_id)), tenant_id.encode(), varint(len(runner_id)), runner_id.encode())
    return b"\x0a%b%b\x12%b%b%b" % (*ids, _SESSION + session_id if session_id else b"")


def frame_of_sealed(frame: RunnerFrame) -> bytes | None:
    """A frame in which every envelope holds a stored body; None: ask the general way."""
    head = frame_head(frame.tenant_id, frame.runner_id, frame.session_id)
    if head is None or not frame.envelopes or len(frame.envelopes) > limits.FRAME_ENVELOPES:
        return None
    parts = [head]
    for envelope in frame.envelopes:
        sealed, seq, message_id = envelope.sealed, envelope.seq, envelope.message_id
        if not sealed or not 1 <= seq <= limits.SEQ or len(message_id) != 16 or not _is_one_field(sealed):
            return None
        numbers = b"\x08%b\x12\x10%b%b" % (varint(seq), message_id, _CRITICAL if envelope.critical else b"")
        parts.append(b"\x22%b%b" % (varint(len(numbers) + len(sealed)), numbers))
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
