"""Strict JSON: hostile documents are refused quickly, good ones come through unchanged."""

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_plugin_sdk.json_strict import MAX_DEPTH, loads

LIMIT = 12 * 1024 * 1024
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_good_documents_come_through(value):
    assert loads(json.dumps(value).encode(), limit_bytes=LIMIT) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode(), limit_bytes=LIMIT) == value


@given(VALUES)
def test_compact_documents_are_read_as_all_others_are(value):
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    assert repr(loads(compact, limit_bytes=LIMIT)) == repr(loads(b" " + compact, limit_bytes=LIMIT))


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(body):
    with contextlib.suppress(JsonRefused):
        loads(body, limit_bytes=LIMIT)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"target":', "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe", "UTF-8"),
        ("\ufeff{}".encode(), "not valid JSON"),
        (b'{"a":1,"a":2}', "duplicate key 'a'"),
        (b'{"a":1,"a":2,"b" :3}', "duplicate key 'a'"),
        (b'{"a":1,"\\u0061":2}', "duplicate key 'a'"),
        (b'[{"x":{"a":1,"a":1}}]', "duplicate key 'a'"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e999]", "too large"),
        (b"[" + b"9" * 4301 + b"]", "too long"),
        (b'["\\ud800"]', "lone surrogate"),
        (b'{"\\udfff":1}', "lone surrogate"),
        (b'{"a":["\\ud83d x"]}', "lone surrogate"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper"),
        (b"[" * 65 + b"]" * 65, "nested deeper"),
        (b"{} {}", "not valid JSON"),
    ],
)
def test_hostile_documents_are_refused_with_a_reason_in_a_quarter_of_a_second(body, why):
    started = time.perf_counter()
    with pytest.raises(JsonRefused, match=why):
        loads(body, limit_bytes=LIMIT)
    assert time.perf_counter() - started < 0.25


def test_64_levels_are_accepted():
    body = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert json.dumps(loads(body, limit_bytes=LIMIT)).encode() == body


def test_wide_documents_are_not_deep():
    body = json.dumps([{"a": [1]}] * 1000).encode()
    assert len(loads(body, limit_bytes=LIMIT)) == 1000


def test_surrogate_pairs_are_characters():
    assert loads(b'["\\ud83d\\udea8"]', limit_bytes=LIMIT) == ["🚨"]


def test_size_is_checked_before_parsing():
    with pytest.raises(JsonTooLarge):
        loads(b"[" + b"1," * 100, limit_bytes=100)
    assert loads(b"[" + b" " * 98 + b"]", limit_bytes=100) == []
