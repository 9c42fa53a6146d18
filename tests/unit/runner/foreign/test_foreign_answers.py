"""What an original plugin's answer means: done, refused, or nobody knows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.adapters.calls import CallError
from aisops_runner.sidecars.foreign.answers import read_http, read_line

PAGE = b"<!DOCTYPE html><pre>SyntaxError: Unexpected token<br> at /app/src/index.js:3:1</pre>"


def error_of(status: int, body: object, *, kind: str = "application/json", several: bool = False) -> CallError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = read_http(status, kind, raw, several=several)
    assert isinstance(found, CallError)
    return found


@pytest.mark.parametrize(
    ("status", "body", "output"),
    [
        (200, {"ok": True, "slack": {"ts": "1"}, "error": None}, {"slack": {"ts": "1"}, "error": None}),
        (200, {"ok": True, "info": {"messageId": "<x>"}}, {"info": {"messageId": "<x>"}}),
        (202, {"ok": True, "accepted": True}, {"accepted": True}),
        (200, {"ok": True}, {}),
        (200, {"datasource": "d", "rows": []}, {"datasource": "d", "rows": []}),  # a provider's own body, passed on
        (200, {"ok": True, "result": {"message_id": "1"}}, {"message_id": "1"}),  # a plugin of our SDK
        (200, {"ok": True, "result": {"a": 1}, "status": "accepted"}, {"result": {"a": 1}, "status": "accepted"}),
    ],
)
def test_done(status: int, body: object, output: object) -> None:
    found = read_http(status, "application/json", json.dumps(body).encode())
    assert isinstance(found, bytes)
    assert json.loads(found) == output


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable", "ambiguous"),
    [
        (200, {"ok": False, "error": "channel_not_found"}, "provider_error", False, False),
        (200, {"ok": False}, "provider_error", False, False),
        (200, {"ok": False, "error": "ratelimited"}, "rate_limited", True, False),
        (200, {"ok": "yes"}, "bad_sidecar_answer", False, True),
        (200, [], "bad_sidecar_answer", False, True),
        (200, b"", "bad_sidecar_answer", False, True),
        (400, {"ok": False, "error": "invalid request body"}, "invalid_request", False, False),
        (401, {"ok": False, "error": "unauthorized"}, "unauthorized", True, False),
        (404, b"", "unsupported_capability", False, False),
        (413, b"", "body_too_large", False, False),
        (418, b"", "plugin_error", False, False),
        (429, b"", "rate_limited", True, False),
        (500, {"ok": False, "error": "SMTP not configured"}, "not_configured", False, False),
        (503, {"ok": False, "error": "internal auth is not configured"}, "not_configured", False, False),
        (500, {"ok": False, "error": "fetch failed"}, "plugin_error", False, True),
        (500, {"ok": False, "error": "template_id is required"}, "plugin_error", False, True),
        (502, {"error": {"message": "upstream"}}, "plugin_error", False, True),
        (501, b"", "unsupported_capability", False, False),
        (304, b"", "bad_sidecar_answer", False, True),
    ],
)
def test_not_done_or_nobody_knows(status: int, body: object, code: str, retryable: bool, ambiguous: bool) -> None:
    error = error_of(status, body)
    assert (error.code, error.retryable, error.ambiguous) == (code, retryable, ambiguous)


@pytest.mark.parametrize(
    ("status", "code", "ambiguous"),
    [(400, "invalid_request", False), (500, "plugin_error", True), (200, "bad_sidecar_answer", True)],
)
def test_an_error_page_is_read_by_its_status_and_not_repeated(status: int, code: str, ambiguous: bool) -> None:
    error = error_of(status, PAGE, kind="text/html")
    assert (error.code, error.ambiguous) == (code, ambiguous)
    assert "/app" not in error.message
    assert "SyntaxError" not in error.message


def test_what_happened_to_several_is_not_known_when_one_was_refused() -> None:
    assert error_of(200, {"ok": False, "error": "x"}, several=True).ambiguous
    refusal = {"ok": False, "error": {"code": "provider_error", "message": "x"}}
    for several in (False, True):
        found = read_line(refusal, several=several)
        assert isinstance(found, CallError)
        assert found.ambiguous is several


def test_who_answers_with_a_code_is_read_by_our_own_contract() -> None:
    error = error_of(502, {"ok": False, "error": "busy", "code": "provider_busy", "retryable": True})
    assert (error.code, error.retryable, error.ambiguous) == ("provider_busy", True, False)


@pytest.mark.parametrize(
    ("document", "output"),
    [
        ({"ok": True, "result": {"a": 1}}, {"a": 1}),
        ({"ok": True, "result": [1]}, {"result": [1]}),
        ({"ok": True, "result": None}, {}),
        ({"ok": True}, {}),
    ],
)
def test_a_lines_result(document: dict[str, object], output: object) -> None:
    found = read_line(document)
    assert isinstance(found, bytes)
    assert json.loads(found) == output


@pytest.mark.parametrize(
    ("code", "told", "retryable", "ambiguous"),
    [
        ("invalid_request", "invalid_request", False, False),
        ("unsupported_capability", "unsupported_capability", False, False),
        ("not_configured", "not_configured", False, False),
        ("provider_error", "provider_error", False, False),
        ("ECONNREFUSED", "provider_unreachable", True, False),
        ("ENOTFOUND", "provider_unreachable", True, False),
        ("ECONNRESET", "ECONNRESET", False, True),
        ("ETIMEDOUT", "ETIMEDOUT", False, True),
        ("runtime_error", "runtime_error", False, True),
        ("", "runtime_error", False, True),
        (None, "runtime_error", False, True),
        (["x"], "runtime_error", False, True),
    ],
)
def test_a_lines_error(code: object, told: str, retryable: bool, ambiguous: bool) -> None:
    error = read_line({"ok": False, "error": {"code": code, "message": "why"}})
    assert isinstance(error, CallError)
    assert (error.code, error.retryable, error.ambiguous) == (told, retryable, ambiguous)
    assert "why" in error.message


@pytest.mark.parametrize("document", [{}, {"ok": 1}, {"ok": False}, {"ok": False, "error": "x"}, {"ok": None}])
def test_a_line_that_is_no_answer_is_ambiguous(document: dict[str, object]) -> None:
    error = read_line(document)
    assert isinstance(error, CallError)
    assert (error.code, error.ambiguous) == ("bad_sidecar_answer", True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ok", "error", "code", "result"]), inner)
    ),
)


@given(st.integers(100, 999), st.sampled_from(["application/json", "text/html", ""]), JSON | st.binary(max_size=40))
def test_any_answer_is_read_and_doubt_is_never_dropped(status: int, kind: str, body: object) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = read_http(status, kind, raw)
    if isinstance(found, bytes):
        assert 200 <= status < 300
        assert isinstance(json.loads(found), dict)
    else:
        assert not (found.retryable and found.ambiguous)
