"""From an ended job to the messages that tell Core: clipping, chunks, truncation. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import lru_cache

from aisops_protocol.limits import (
    ERROR_DETAILS_BYTES,
    ERROR_MESSAGE_BYTES,
    LOG_TEXT_BYTES,
    NAME_BYTES,
    RESULT_CHUNK_BYTES,
    RESULT_CHUNKS,
    RESULT_INLINE_BYTES,
)
from aisops_protocol.messages import (
    ExecutionInfo,
    JobError,
    JobResult,
    LogEvent,
    ResultChunk,
    RunnerBody,
)
from aisops_runner.adapters.calls import CallError, JobLog
from aisops_runner.jobs.commands import Finish

PREVIEW_CHARS = 16 * 1024
WITHHELD = b'{"truncated":true}'


def build(finish: Finish, unix_ms: int) -> tuple[JobResult, bytes]:
    """The result of a job, and its output when that is too large to stand inside the message.

    Args:
        finish: How the job ended.
        unix_ms: Wall clock now, in milliseconds.
    """
    outcome = finish.outcome
    output = outcome.output if outcome is not None and outcome.ok else b""
    output, truncated = truncate(output)
    large = len(output) > RESULT_INLINE_BYTES
    duration_ms = int(finish.duration_s * 1000)
    execution = ExecutionInfo(
        plugin=_name(outcome.plugin) if outcome else "",
        plugin_version=_name(outcome.plugin_version) if outcome else "",
        sidecar_pid=outcome.sidecar_pid if outcome else 0,
        calls=finish.calls,
        started_unix_ms=max(unix_ms - duration_ms, 0) if finish.calls else 0,
        duration_ms=duration_ms,
    )
    result = JobResult(
        job_id=finish.job_id,
        lease_id=finish.lease_id,
        attempt=finish.attempt,
        status=finish.ended.status,
        output=b"" if large else output,
        error=_error(finish.ended.error) if finish.ended.error is not None else None,
        execution=execution,
        truncated=truncated,
    )
    return result, output if large else b""


def in_pieces(result: JobResult, output: bytes) -> list[RunnerBody]:
    """The messages for the lane: chunks of a large output first, then the result.

    Args:
        result: The result; its own `output` is empty when `output` is not.
        output: A large output, at most RESULT_CHUNKS chunks; empty when it stands inside the result.
    """
    if not output:
        return [result]
    sha256 = hashlib.sha256(output).digest()
    count = -(-len(output) // RESULT_CHUNK_BYTES)
    pieces: list[RunnerBody] = []
    for index in range(count):
        data = output[index * RESULT_CHUNK_BYTES : (index + 1) * RESULT_CHUNK_BYTES]
        digest = sha256 if index == count - 1 else b""
        pieces.append(ResultChunk(result.job_id, result.lease_id, index, count, data, digest))
    return [*pieces, result]


def truncate(output: bytes) -> tuple[bytes, bool]:
    """An output within the contract, and whether it had to be cut: JSON then says how long it was and how it began."""
    if len(output) <= RESULT_CHUNK_BYTES * RESULT_CHUNKS:
        return output, False
    preview = output[:PREVIEW_CHARS].decode("utf-8", "replace")
    return json.dumps({"truncated": True, "bytes": len(output), "preview": preview}).encode(), True


def fallback(result: JobResult, problem: str) -> JobResult:
    """A result that is certain to fit, for one whose output or error the contract refuses.

    The call did succeed or fail as it says, so the status stays; what cannot be told is replaced.
    """
    error = result.error and JobError("result_invalid", _clip(problem, NAME_BYTES), ambiguous=result.error.ambiguous)
    return replace(result, output=WITHHELD if result.error is None else b"", error=error, truncated=True)


def log_event(line: JobLog) -> LogEvent:
    """A log line as Core gets it."""
    return LogEvent(
        level=line.level,
        text=_clip(line.text, LOG_TEXT_BYTES),
        time_unix_ms=max(line.time_unix_ms, 0),
        job_id=line.job_id,
        source=_clip(line.source, NAME_BYTES),
    )


def _error(error: CallError) -> JobError:
    return JobError(
        code=_clip(error.code, NAME_BYTES) or "failed",
        message=_clip(error.message, ERROR_MESSAGE_BYTES),
        retryable=error.retryable,
        ambiguous=error.ambiguous,
        retry_after_ms=max(int(error.retry_after_s * 1000), 0),
        details=error.details if len(error.details) <= ERROR_DETAILS_BYTES else b"",
    )


@lru_cache(maxsize=256)
def _name(text: str) -> str:
    """A plugin's name or version; there are few, and one is asked for with every result."""
    return _clip(text, NAME_BYTES)


def _clip(text: str, limit_bytes: int) -> str:
    """Text without NUL, cut to a number of octets at a character's edge."""
    octets = text.replace("\0", "\ufffd").encode("utf-8", "replace")
    return octets[:limit_bytes].decode("utf-8", "ignore")
