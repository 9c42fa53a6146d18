"""The bodies a sidecar answers with. Pure: errors and results in, JSON bytes out."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aisops_plugin_sdk.errors import (
    ConfigInvalid,
    JsonRefused,
    JsonTooLarge,
    NotConfigured,
    PluginError,
    SignatureRefused,
)
from aisops_plugin_sdk.secret import Redactor

RESULT_LIMIT_BYTES = 1024 * 1024
_TEXT_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: status, JSON body, and extra headers."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """An HTTP answer written piece by piece: NDJSON, status 200."""

    pieces: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """How a call of a capability ended: the result as JSON bytes, or the error."""

    result: bytes = b""
    error: PluginError | None = None


class Refusal(PluginError):
    """An answer the server gives on its own account: no plugin code ran."""

    def __init__(
        self, status: int, code: str, message: str, *, retryable: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, code=code, retryable=retryable, retry_after_s=retry_after_s)
        self.http_status = status


class MethodRefused(Refusal):
    """405: the path takes another method."""

    def __init__(self, allowed: str) -> None:
        super().__init__(405, "method_not_allowed", f"this path takes {allowed}")
        self.allowed = allowed


def success(document: dict[str, Any], status: int = 200) -> Answer:
    """Answer with `ok: true` and further keys."""
    return Answer(status, dump({"ok": True, **document}))


def unready(error: PluginError, redactor: Redactor) -> Answer:
    """Answer GET /readyz when calls cannot be taken: always 503, with the reason's own code."""
    return Answer(503, dump(error_document(error, redactor)))


def failure(error: PluginError, redactor: Redactor) -> Answer:
    """Answer with an error. Secrets are removed from its texts."""
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, MethodRefused):
        headers = (("Allow", error.allowed),)
    if error.retry_after_s is not None:
        headers = (("Retry-After", str(max(1, round(error.retry_after_s)))),)
    return Answer(error.http_status, dump(error_document(error, redactor)), headers)


def error_document(error: PluginError, redactor: Redactor) -> dict[str, Any]:
    """Render an error as the contract's document."""
    retry_after_ms = None if error.retry_after_s is None else max(0, round(error.retry_after_s * 1000))
    return {
        "ok": False,
        "error": redactor.text(str(error))[:_TEXT_LIMIT] or error.code,
        "code": error.code[:128],
        "retryable": error.retryable,
        "retry_after_ms": retry_after_ms,
        "ambiguous": error.ambiguous,
        "details": [
            {"path": redactor.text(detail.path), "message": redactor.text(detail.message)[:_TEXT_LIMIT]}
            for detail in error.details
        ],
    }


def invoked(outcome: CallOutcome, redactor: Redactor) -> Answer:
    """Answer POST /v1/invoke."""
    if outcome.error is not None:
        return failure(outcome.error, redactor)
    return Answer(200, b'{"ok":true,"result":' + outcome.result + b"}")


def sent(outcome: CallOutcome, redactor: Redactor) -> Answer:
    """Answer an alias route: as an invocation, with the result's fields and a status at the top level too."""
    if outcome.error is not None:
        return failure(outcome.error, redactor)
    result = json.loads(outcome.result)
    flat = {key: value for key, value in result.items() if key not in ("ok", "result")}
    return Answer(200, dump({"status": "accepted", **flat, "ok": True, "result": result}))


def dump(document: dict[str, Any]) -> bytes:
    """Write compact JSON, safe for any text (what UTF-8 cannot carry is escaped)."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def from_signature(error: SignatureRefused) -> PluginError:
    """Map a refused signature to its answer."""
    return Refusal(error.http_status, error.code, str(error))


def from_json(error: JsonRefused) -> PluginError:
    """Map unacceptable JSON to its answer."""
    return Refusal(413 if isinstance(error, JsonTooLarge) else 400, error.code, str(error))


def from_config(error: ConfigInvalid) -> PluginError:
    """Map a missing or invalid configuration to its answer."""
    return NotConfigured(str(error), details=error.details)
