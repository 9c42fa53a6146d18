"""Reads what an original plugin answers, over HTTP or by line. Pure: an answer in, output or `CallError` out.

The original has no word for "it may have happened". What is known of its plugins decides: a 4xx, and a 2xx with
`ok: false`, mean that nothing was done; a 5xx may come after the request had left for the provider, so it is ambiguous
unless its text says that the plugin was never configured. An error page in HTML is read by its status alone, and
nothing of it is repeated: it holds a stack trace. Who answers with a `code` speaks our own contract and is read by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_runner.adapters.calls import CallError
from aisops_runner.sidecars.answers import ANSWER_BYTES, bad_answer, read_answer

_TEXT_CHARS: Final = 2000
_CODE_CHARS: Final = 128
_NOT_CONFIGURED: Final = re.compile(r"\bnot configured\b", re.IGNORECASE)
_RATE_LIMITED: Final = frozenset({"ratelimited", "rate_limited", "too many requests"})


class Meaning(NamedTuple):
    """What an answer says of the call."""

    code: str
    retryable: bool = False
    ambiguous: bool = False


REFUSED: Final[Mapping[int, Meaning]] = {
    400: Meaning("invalid_request"),
    401: Meaning("unauthorized", retryable=True),  # before anything was done: a clock, or a token that is being changed
    403: Meaning("forbidden"),
    404: Meaning("unsupported_capability"),
    405: Meaning("unsupported_capability"),
    408: Meaning("timeout", retryable=True),
    409: Meaning("conflict"),
    413: Meaning("body_too_large"),
    415: Meaning("invalid_request"),
    422: Meaning("invalid_request"),
    429: Meaning("rate_limited", retryable=True),
}
"""Statuses that say that nothing was done; any other 4xx is `plugin_error`."""
FAILED: Final[Mapping[int, Meaning]] = {
    501: Meaning("unsupported_capability"),
}
"""Any other 5xx is `plugin_error` and ambiguous."""
LINE_ERRORS: Final[Mapping[str, Meaning]] = {
    "invalid_json": Meaning("invalid_json"),
    "invalid_type": Meaning("invalid_type"),
    "invalid_request": Meaning("invalid_request"),
    "unsupported_capability": Meaning("unsupported_capability"),
    "not_configured": Meaning("not_configured"),
    "provider_error": Meaning("provider_error"),
    "ECONNREFUSED": Meaning("provider_unreachable", retryable=True),
    "ENOTFOUND": Meaning("provider_unreachable", retryable=True),
    "EAI_AGAIN": Meaning("provider_unreachable", retryable=True),
    "ENETUNREACH": Meaning("provider_unreachable", retryable=True),
    "EHOSTUNREACH": Meaning("provider_unreachable", retryable=True),
}
"""Codes of stdio-json errors, Node's own for a connection that was never made among them. Any other is ambiguous."""


def read_http(status: int, content_type: str, body: bytes, *, several: bool = False) -> bytes | CallError:
    """Read the answer of a route.

    Args:
        status: HTTP status.
        content_type: The media type, without parameters.
        body: The raw body, already within the size limit.
        several: The call had several effects, of which some may have happened before it failed.

    Returns:
        The output as JSON bytes, or the error.
    """
    document = None if content_type in ("text/html", "application/xhtml+xml") else _object(body)
    if document is not None and document.get("ok") is False and isinstance(document.get("code"), str):
        return read_answer(status, "application/json", body)
    if 200 <= status < 300:
        return _read_good(status, content_type, document, several=several)
    if not 400 <= status < 600:
        return bad_answer(f"HTTP status {status}", ambiguous=True)
    text = _text(document)
    meaning = REFUSED.get(status, Meaning("plugin_error")) if status < 500 else _failed(status, text)
    shown = text or f"the plugin answered HTTP {status} and no reason"
    if status == 401:
        shown = f"the plugin refused the signature ({shown}): its token is another, or a clock is five minutes off"
    return CallError(meaning.code, shown, retryable=meaning.retryable, ambiguous=meaning.ambiguous)


def read_line(document: Mapping[str, Any], *, several: bool = False) -> bytes | CallError:
    """Read the answer to an `invoke` line.

    Args:
        document: The answer, whose id is known.
        several: The call had several effects, of which some may have happened before it failed.
    """
    ok, error = document.get("ok"), document.get("error")
    if ok is True:
        return output_of(document.get("result"))
    if ok is not False or not isinstance(error, Mapping):
        return bad_answer('neither "ok": true nor "ok": false with an error', ambiguous=True)
    code = error.get("code")
    known = LINE_ERRORS.get(code) if isinstance(code, str) else None
    shown = code[:_CODE_CHARS] if isinstance(code, str) and code else "runtime_error"
    meaning = known or Meaning(shown, ambiguous=True)
    if several and meaning.code in ("provider_error", "provider_unreachable"):
        meaning = Meaning(meaning.code, ambiguous=True)
    text = error.get("message")
    message = text[:_TEXT_CHARS] if isinstance(text, str) and text else "the plugin gave no reason"
    if known is not None and known.code != code:
        message = f"{code}: {message}"
    return CallError(meaning.code, message, retryable=meaning.retryable, ambiguous=meaning.ambiguous)


def output_of(result: object) -> bytes:
    """A result as a job's output, which is always a JSON object."""
    document = result if isinstance(result, dict) else {} if result is None else {"result": result}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _read_good(status: int, content_type: str, document: dict[str, Any] | None, *, several: bool) -> bytes | CallError:
    """A 2xx: done, unless it says `ok: false`; some plugins pass their provider's body on, without any `ok`."""
    if document is None:
        given = f"content type {content_type[:80]!r}" if content_type else "no content type"
        return bad_answer(f"HTTP {status} with {given} and no JSON object", ambiguous=True)
    ok = document.pop("ok", True)
    if ok is True:
        alone = len(document) == 1 and isinstance(document.get("result"), dict)
        return output_of(document["result"] if alone else document)
    if ok is not False:
        return bad_answer(f'HTTP {status} with an "ok" that is neither true nor false', ambiguous=True)
    text = _text(document)
    if text.lower() in _RATE_LIMITED:
        return CallError("rate_limited", text, retryable=True, ambiguous=several)
    return CallError("provider_error", text or "the provider refused and the plugin gave no reason", ambiguous=several)


def _failed(status: int, text: str) -> Meaning:
    if _NOT_CONFIGURED.search(text):
        return Meaning("not_configured")
    return FAILED.get(status, Meaning("plugin_error", ambiguous=True))


def _text(document: Mapping[str, Any] | None) -> str:
    """The reason given: `error` as a text, or (a provider's body passed on) as an object with a `message`."""
    error = document.get("error") if document is not None else None
    if isinstance(error, Mapping):
        error = error.get("message")
    return error[:_TEXT_CHARS] if isinstance(error, str) else ""


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json_strict.loads(body, limit_bytes=ANSWER_BYTES)
    except (JsonRefused, JsonTooLarge):
        return None
    return document if isinstance(document, dict) else None
