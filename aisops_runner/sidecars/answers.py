"""Reads a sidecar's HTTP answer. Pure: status and bytes in, output or `CallError` out.

A sidecar is foreign code: whatever is not exactly an answer of the contract becomes the typed error
`bad_sidecar_answer`, with nothing of it trusted. Who answered a call with nonsense may have carried it out, so nonsense
is ambiguous unless its status says that the call was refused (4xx).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_runner.adapters.calls import CallError
from aisops_runner.sidecars.http import NotHttp

ANSWER_BYTES = 1024 * 1024
BAD_ANSWER = "bad_sidecar_answer"
UNREACHABLE = "sidecar_unreachable"
DIED = "sidecar_died"
MAX_RETRY_AFTER_S = 86_400.0
_TEXT_CHARS = 2000
_MAX_DETAILS = 32
_PREFIX = b'{"ok":true,"result":'


class BadAnswer(Exception):
    """The answer breaks the contract; the text says how."""


def read_answer(status: int, content_type: str, body: bytes) -> bytes | CallError:
    """Read the answer of `POST /v1/invoke/…`.

    Args:
        status: HTTP status.
        content_type: The media type, without parameters.
        body: The raw body, already within the size limit.

    Returns:
        The result as JSON bytes, or the error.
    """
    try:
        return _read(status, content_type, body)
    except BadAnswer as error:
        return bad_answer(str(error), ambiguous=not 400 <= status < 500)


def bad_answer(reason: str, *, ambiguous: bool) -> CallError:
    """The typed error for an answer that is none."""
    return CallError(BAD_ANSWER, f"the sidecar's answer is unusable: {reason}", ambiguous=ambiguous)


def unanswered(failure: Exception, *, sent: bool, timeout_s: float) -> CallError:
    """The typed error for a call whose answer did not come whole.

    Args:
        failure: TimeoutError, NotHttp, or what became of the connection.
        sent: The request had been written: it may have been carried out.
        timeout_s: What the call was given.
    """
    if isinstance(failure, NotHttp):
        return bad_answer(str(failure), ambiguous=sent and not 400 <= failure.status < 500)
    if isinstance(failure, TimeoutError):
        if sent:
            return CallError("timeout", f"no answer within {timeout_s:g} s", ambiguous=True)
        return CallError(UNREACHABLE, "the sidecar did not take the connection in time", retryable=True)
    if sent:
        return CallError(DIED, "the sidecar went away before it answered", ambiguous=True)
    return CallError(UNREACHABLE, f"the sidecar cannot be reached ({type(failure).__name__})", retryable=True)


def _read(status: int, content_type: str, body: bytes) -> bytes | CallError:
    if status not in range(200, 300) and status not in range(400, 600):
        raise BadAnswer(f"HTTP status {status}")
    if content_type != "application/json":
        raise BadAnswer(f"HTTP {status} with content type {content_type[:80]!r} instead of application/json")
    try:
        document = json_strict.loads(body, limit_bytes=ANSWER_BYTES)
    except (JsonRefused, JsonTooLarge) as error:
        raise BadAnswer(f"HTTP {status}: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("ok"), bool):
        raise BadAnswer(f'HTTP {status} without "ok"')
    if document["ok"] != (status < 300):
        raise BadAnswer(f"HTTP {status} contradicts ok = {document['ok']}")
    if document["ok"]:
        return _result(document, body)
    refused = _error(document)
    if status == 401 and "unauthorized" in (refused.code, refused.message):
        # The signature was refused, before anything was done: a clock was set between signing and checking.
        return replace(refused, code="unauthorized", retryable=True, ambiguous=False)
    return refused


def _result(document: Mapping[str, Any], body: bytes) -> bytes:
    result = document.get("result")
    if not isinstance(result, dict):
        raise BadAnswer("result is not an object")
    if len(document) == 2 and body.startswith(_PREFIX):  # what our SDK writes: no need to write it again
        return body[len(_PREFIX) :].rstrip()[:-1]
    return json.dumps(result, separators=(",", ":"), ensure_ascii=False).encode()


def _error(document: Mapping[str, Any]) -> CallError:
    code, details = document.get("code"), document.get("details")
    kept = [item for item in details if isinstance(item, dict)][:_MAX_DETAILS] if isinstance(details, list) else []
    return CallError(
        code=code[:128] if isinstance(code, str) and code else "plugin_error",
        message=str(document.get("error") or "the plugin gave no reason")[:_TEXT_CHARS],
        retryable=document.get("retryable") is True,
        ambiguous=document.get("ambiguous") is True,
        retry_after_s=_seconds(document.get("retry_after_ms")),
        details=json.dumps(
            [{"path": str(item.get("path", ""))[:512], "message": str(item.get("message", ""))[:512]} for item in kept],
            ensure_ascii=False,
        ).encode()
        if kept
        else b"",
    )


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        return 0.0
    return min(value / 1000, MAX_RETRY_AFTER_S)
