"""Whatever a sidecar answers becomes a result or a typed error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.adapters.calls import CallError
from aisops_runner.sidecars.answers import BAD_ANSWER, read_answer

JSON = "application/json"


def test_a_result_comes_back_as_json_bytes() -> None:
    assert read_answer(200, JSON, b'{"ok":true,"result":{"a":[1,"}"]}}') == b'{"a":[1,"}"]}'
    assert read_answer(200, JSON, b' {"result": {"a": "\xc3\xbc"}, "ok": true, "extra": 1}') == '{"a":"ü"}'.encode()
    assert read_answer(200, JSON, b'{"ok":true,"result":{"a":1} }\n') in (b'{"a":1}', b'{"a":1} ')


def test_an_error_keeps_what_the_plugin_said() -> None:
    body = {
        "ok": False, "error": "slow down", "code": "rate_limited", "retryable": True, "retry_after_ms": 1500,
        "ambiguous": False, "details": [{"path": "/to", "message": "x"}],
    }  # fmt: skip
    error = read_answer(429, JSON, json.dumps(body).encode())
    assert isinstance(error, CallError)
    assert (error.code, error.retryable, error.retry_after_s, error.ambiguous) == ("rate_limited", True, 1.5, False)
    assert json.loads(error.details) == [{"path": "/to", "message": "x"}]


def test_an_error_of_the_original_product_is_understood() -> None:
    error = read_answer(401, JSON, b'{"ok":false,"error":"unauthorized"}')
    assert error == CallError("unauthorized", "unauthorized", retryable=True)


def test_an_html_refusal_is_not_ambiguous_but_html_success_is() -> None:
    refusal = read_answer(400, "text/html", b"<pre>SyntaxError at /app/x.js</pre>")
    claim = read_answer(200, "text/html", b"<h1>ok</h1>")
    assert isinstance(refusal, CallError)
    assert isinstance(claim, CallError)
    assert (refusal.code, refusal.ambiguous) == (BAD_ANSWER, False)
    assert (claim.code, claim.ambiguous) == (BAD_ANSWER, True)
    assert "x.js" not in refusal.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""), (200, b"null"), (200, b"[]"), (200, b"{}"), (200, b'{"ok":1}'), (200, b'{"ok":true}'),
        (200, b'{"ok":true,"result":[]}'), (200, b'{"ok":true,"result":NaN}'), (200, b'{"ok":false,"error":"x"}'),
        (500, b'{"ok":true,"result":{}}'), (200, b"\xff\xfe"), (200, b'{"ok":true,"ok":false}'),
        (200, b'{"ok":true,"result":' + b"[" * 5000), (302, b"{}"), (304, b"{}"), (700, b"{}"), (101, b"{}"),
    ],
)  # fmt: skip
def test_nonsense_is_a_typed_and_ambiguous_error(status: int, body: bytes) -> None:
    error = read_answer(status, JSON, body)
    assert isinstance(error, CallError)
    assert error.code == BAD_ANSWER
    assert error.ambiguous


@given(st.integers(0, 999), st.binary(max_size=100))
def test_nothing_raises(status: int, body: bytes) -> None:
    read_answer(status, JSON, body)


def test_hostile_error_fields_are_bounded() -> None:
    body = {
        "ok": False,
        "error": "e" * 9999,
        "code": "c" * 999,
        "retry_after_ms": 1e300,
        "details": [{"path": "p" * 9999}] * 99,
    }
    error = read_answer(500, JSON, json.dumps(body).encode())
    assert isinstance(error, CallError)
    assert len(error.message) <= 2000
    assert len(error.code) <= 128
    assert error.retry_after_s == 86_400
    assert len(error.details) < 32 * 1200
