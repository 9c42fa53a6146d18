"""Inputs and schemas from strangers: strict JSON, bounded schemas, errors without values."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.dispatch import strict_json
from aisops_core.dispatch.inputs import CACHED_SCHEMAS, InputSchemas, UnusableSchema, compile_schema
from aisops_core.errors import InputInvalid

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_plain_json_is_read_as_it_is(value: object) -> None:
    assert strict_json.loads(json.dumps(value).encode()) == value
    assert strict_json.loads(json.dumps(value, ensure_ascii=False).encode()) == value


def accepted(data: bytes) -> bool:
    try:
        strict_json.loads(data)
    except strict_json.NotStrictJson:
        return False
    return True


PIECES = [
    b"{", b"}", b"[", b"]", b",", b":", b'"a"', b'"\\u0061"', b'"b"', b'"\xc3\xa9"', b"1", b"-0", b"1.0", b"1e2",
    b"1e999", b"true",
    b"null", b"NaN", b"Infinity", b" ", b"\n", b'"\\ud800"', b'"\x00"', b'"\xff"', b"\xef\xbb\xbf", b"01",
    b"9" * 400,
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join))
def test_strict_is_what_can_be_read(data: bytes) -> None:
    assert strict_json.is_strict(data) == accepted(data)


@given(VALUES)
def test_what_is_written_compactly_is_strict_too(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, separators=(",", ":"))):
        assert strict_json.is_strict(text.encode()) == accepted(text.encode())


@pytest.mark.parametrize(
    ("data", "strict"),
    [
        (b'{"a":1,"b":{"a":2}}', True),
        (b'{"a":1,"a":1}', False),
        (b'{"a":1,"\\u0061":1}', False),
        (b'{"b":{"a":1,"a":2}}', False),
        (b"[" * 64 + b"]" * 64, True),
        (b"[" * 65 + b"]" * 65, False),
        (b'"\\ud800"', False),
        (b'"\\ud83d\\ude00"', True),
        (b"1e999", False),
        (b"9" * 5000, False),
        (b'"' + b"x" * 5000 + b'"', True),
        (b'{"a":"' + b"x" * 5000 + b'","a":1}', False),
    ],
)
def test_strict_or_not(data: bytes, strict: bool) -> None:
    assert strict_json.is_strict(data) is strict


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_an_accident(data: bytes) -> None:
    with contextlib.suppress(strict_json.NotStrictJson):
        strict_json.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"9" * 5000,
        b'{"a":1,"a":2}',
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b"\xef\xbb\xbf{}",
        b"\xff",
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"{} {}",
        b"'a'",
    ],
)
def test_what_is_not_strict_json(data: bytes) -> None:
    with pytest.raises(strict_json.NotStrictJson) as caught:
        strict_json.loads(data)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "data", [b"[" * 64 + b"]" * 64, b'"\\ud83d\\ude00"', b'"[[[[{{{{"', b"[" + b"[]," * 500 + b"1]"]
)
def test_what_only_looks_bad(data: bytes) -> None:
    strict_json.loads(data)


HOSTILE = {
    "not json": b"{",
    "not a schema": b"[1]",
    "unknown type": b'{"type":"foo"}',
    "remote": b'{"$ref":"https://example.com/x.json"}',
    "file": b'{"$ref":"file:///etc/passwd"}',
    "missing part": b'{"$ref":"#/$defs/none"}',
    "anchor": b'{"$ref":"#a","$defs":{"x":{"$anchor":"a"}}}',
    "dynamic": b'{"$dynamicRef":"#x"}',
    "nested id": b'{"properties":{"a":{"$id":"http://x/"}}}',
    "unknown dialect": b'{"$schema":"http://example.com/none"}',
    "backtracking": rb'{"pattern":"(a)\\1"}',
    "lookahead": b'{"pattern":"(?=a)b"}',
    "huge pattern": b'{"pattern":"(a{1,1000}){1,1000}"}',
    "long pattern": json.dumps({"pattern": "a" * 2000}).encode(),
    "many patterns": json.dumps({"allOf": [{"pattern": f"a{n}"} for n in range(300)]}).encode(),
    "too large": json.dumps({"description": "x" * 70_000}).encode(),
    "explosion": json.dumps(
        {
            "$defs": {
                **{f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 8} for n in range(12)},
                "a12": {"type": "string"},
            },
            "$ref": "#/$defs/a0",
        }
    ).encode(),
    "doubling": b'{"properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}',
    "hidden doubling": json.dumps(
        {"$defs": {"A": {"properties": {"x": {"$ref": "#"}}}}, "allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}]}
    ).encode(),
    "long chain": json.dumps(
        {"$defs": {**{f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(1500)}, "a1500": {}}, "$ref": "#/$defs/a0"}
    ).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused_quickly(name: str) -> None:
    began = time.perf_counter()
    with pytest.raises(UnusableSchema):
        compile_schema(HOSTILE[name])
    assert time.perf_counter() - began < 1


def test_an_unusable_schema_lets_inputs_pass_and_says_why() -> None:
    schemas = InputSchemas()
    assert "outside" in schemas.problem(b"d", HOSTILE["file"])
    schemas.check(b"d", HOSTILE["file"], b'{"anything":1}')
    with pytest.raises(InputInvalid):
        schemas.check(b"d", HOSTILE["file"], b"{")


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"Node": {"properties": {"children": {"items": {"$ref": "#/$defs/Node"}}}}}, "$ref": "#/$defs/Node"},
        {"properties": {"a": {"$ref": "#/$defs/A"}, "b": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"A": {}}, "$ref": "#/definitions/A"},
        {"properties": {"definitions": {"type": "string"}, "~a/b": {"$ref": "#/properties/definitions"}}},
        True,
    ],
)
def test_ordinary_schemas_are_used(schema: object) -> None:
    compile_schema(json.dumps(schema).encode())


def test_errors_name_the_place_and_the_rule_but_not_the_value() -> None:
    schema = {
        "properties": {"a/b": {"type": "integer"}, "list": {"items": {"enum": [1, 2]}}, "p": {"pattern": "^x$"}},
        "required": ["must"],
    }
    document = {"a/b": "hunter2", "list": [1, "hunter2"], "p": "hunter2"}
    with pytest.raises(InputInvalid) as caught:
        InputSchemas().check(b"d", json.dumps(schema).encode(), json.dumps(document).encode())
    assert sorted(error.path for error in caught.value.errors) == ["", "/a~1b", "/list/1", "/p"]
    assert "hunter2" not in str(caught.value.diagnostics())


def test_a_pattern_that_explodes_elsewhere_is_matched_in_linear_time() -> None:
    schema = b'{"type":"string","pattern":"^(a+)+$"}'
    began = time.perf_counter()
    with pytest.raises(InputInvalid):
        InputSchemas().check(b"d", schema, b'"' + b"a" * 100_000 + b'b"')
    assert time.perf_counter() - began < 1


def test_the_cache_is_bounded() -> None:
    schemas = InputSchemas()
    for n in range(CACHED_SCHEMAS + 10):
        schemas.problem(str(n).encode(), b"{}")
    assert len(schemas._compiled) == CACHED_SCHEMAS
