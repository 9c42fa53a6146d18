"""Every rule for schemas, by the smallest pair that shows it, on the side where it breaks and on the other one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aisops_plugin_sdk.diff.schemas import compare_schemas

TEXT: dict[str, Any] = {"type": "string"}
NULLABLE: dict[str, Any] = {"anyOf": [TEXT, {"type": "null"}]}


def closed(*required: str, **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def opened(*required: str, **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required)}


def whole(minimum: Any = None, maximum: Any = None, **words: Any) -> dict[str, Any]:
    limits = {"minimum": minimum, "maximum": maximum}
    return {"type": "integer", **{word: value for word, value in limits.items() if value is not None}, **words}


def said(old: Any, new: Any, side: Any) -> list[tuple[str, str, bool]]:
    return [(item.rule, item.path, item.breaking) for item in compare_schemas(old, new, side)]


INPUTS = {
    "new required field": (closed(a=TEXT), closed("b", a=TEXT, b=TEXT), [("field_required", "/b", True)]),
    "optional field is required": (closed(a=TEXT), closed("a", a=TEXT), [("field_required", "/a", True)]),
    "required field is optional": (closed("a", a=TEXT), closed(a=TEXT), [("widened", "/a", False)]),
    "field removed": (closed(a=TEXT, b=TEXT), closed(a=TEXT), [("field_removed", "/b", True)]),
    "field removed where others are let through": (
        opened(a=TEXT, b=TEXT),
        opened(a=TEXT),
        [("field_removed", "/b", True)],
    ),
    "field added": (closed(a=TEXT), closed(a=TEXT, b=TEXT), [("field_added", "/b", False)]),
    "field added where any could stand": (opened(a=TEXT), opened(a=TEXT, b=TEXT), [("field_added", "/b", True)]),
    "fields become free": (closed(a=TEXT), {"type": "object"}, [("widened", "/*", False)]),
    "closed": (opened(a=TEXT), closed(a=TEXT), [("closed", "/*", True)]),
    "null no longer": (closed(a=NULLABLE), closed(a=TEXT), [("type_narrowed", "/a", True)]),
    "null too": (closed(a=TEXT), closed(a=NULLABLE), [("widened", "/a", False)]),
    "another type": (closed(a=TEXT), closed(a=whole()), [("type_narrowed", "/a", True)]),
    "only whole numbers": (closed(a={"type": "number"}), closed(a=whole()), [("type_narrowed", "/a", True)]),
    "fractions too": (closed(a=whole()), closed(a={"type": "number"}), [("widened", "/a", False)]),
    "minimum raised": (closed(a=whole(0)), closed(a=whole(1)), [("range_narrowed", "/a", True)]),
    "minimum said otherwise": (closed(a=whole(exclusiveMinimum=0)), closed(a=whole(1)), []),
    "maximum set": (closed(a=whole()), closed(a=whole(None, 9)), [("range_narrowed", "/a", True)]),
    "multiples only": (closed(a=whole()), closed(a=whole(multipleOf=5)), [("range_narrowed", "/a", True)]),
    "multiples of multiples": (
        closed(a=whole(multipleOf=10)),
        closed(a=whole(multipleOf=5)),
        [("widened", "/a", False)],
    ),
    "value gone": (closed(a={"enum": ["x", "y"]}), closed(a={"enum": ["x"]}), [("values_narrowed", "/a", True)]),
    "value more": (closed(a={"enum": ["x"]}), closed(a={"enum": ["x", "y"]}), [("widened", "/a", False)]),
    "values only": (closed(a=TEXT), closed(a={"type": "string", "enum": ["x"]}), [("values_narrowed", "/a", True)]),
    "another constant": (
        closed(a={"const": "x"}),
        closed(a={"const": "y"}),
        [("values_narrowed", "/a", True), ("widened", "/a", False)],
    ),
    "const is an enum of one": (closed(a={"const": "x"}), closed(a={"enum": ["x"]}), []),
    "shorter": (
        closed(a={**TEXT, "maxLength": 9}),
        closed(a={**TEXT, "maxLength": 8}),
        [("length_narrowed", "/a", True)],
    ),
    "not empty": (closed(a=TEXT), closed(a={**TEXT, "minLength": 1}), [("length_narrowed", "/a", True)]),
    "pattern set": (closed(a=TEXT), closed(a={**TEXT, "pattern": "^x"}), [("pattern_narrowed", "/a", True)]),
    "pattern gone": (closed(a={**TEXT, "pattern": "^x"}), closed(a=TEXT), [("widened", "/a", False)]),
    "another pattern": (
        closed(a={**TEXT, "pattern": "^x"}),
        closed(a={**TEXT, "pattern": "^[xy]"}),
        [("incomparable", "/a", True)],
    ),
    "format set": (closed(a=TEXT), closed(a={**TEXT, "format": "uri"}), [("format_narrowed", "/a", True)]),
    "default gone": (closed(a={**TEXT, "default": "x"}), closed(a=TEXT), [("default_removed", "/a", True)]),
    "another default": (
        closed(a={**TEXT, "default": "x"}),
        closed(a={**TEXT, "default": "y"}),
        [("default_changed", "/a", False)],
    ),
    "default given": (closed(a=TEXT), closed(a={**TEXT, "default": "y"}), []),
    "deep in a list": (
        closed(a={"type": "array", "items": closed(b=TEXT)}),
        closed(a={"type": "array", "items": closed("b", b=TEXT)}),
        [("field_required", "/a/*/b", True)],
    ),
    "fewer elements": (
        closed(a={"type": "array", "maxItems": 5}),
        closed(a={"type": "array", "maxItems": 4}),
        [("length_narrowed", "/a", True)],
    ),
    "elements must differ": (
        closed(a={"type": "array"}),
        closed(a={"type": "array", "uniqueItems": True}),
        [("values_narrowed", "/a", True)],
    ),
    "values of a map": (
        closed(a={"type": "object", "additionalProperties": TEXT}),
        closed(a={"type": "object", "additionalProperties": {**TEXT, "maxLength": 3}}),
        [("length_narrowed", "/a/*", True)],
    ),
    "names of a map": (
        closed(a={"type": "object", "additionalProperties": TEXT}),
        closed(a={"type": "object", "additionalProperties": TEXT, "propertyNames": {"enum": ["x"]}}),
        [("values_narrowed", "/a/*", True)],
    ),
    "a condition that changed": (
        closed(a={"not": {"const": 1}}),
        closed(a={"not": {"const": 2}}),
        [("incomparable", "/a", True)],
    ),
    "a condition beside a change": (
        closed(a={"not": {"const": 1}}, b=TEXT),
        closed(a={"not": {"const": 1}}, b=NULLABLE),
        [("widened", "/b", False)],
    ),
    "words, not meaning": (
        {"title": "Old", **closed(a={**TEXT, "description": "old"})},
        {"title": "New", **closed(a={**TEXT, "description": "new", "examples": ["x"]})},
        [],
    ),
    "a definition is renamed": (
        {**closed(a={"$ref": "#/$defs/Old"}), "$defs": {"Old": TEXT}},
        {**closed(a={"$ref": "#/$defs/New"}), "$defs": {"New": TEXT}},
        [],
    ),
    "a definition is written out": ({**closed(a={"$ref": "#/$defs/T"}), "$defs": {"T": TEXT}}, closed(a=TEXT), []),
    "a schema that refers to itself": (
        closed(a=TEXT, next={"$ref": "#"}),
        closed(a=NULLABLE, next={"$ref": "#"}),
        [("widened", "/a", False)],
    ),
    "an allOf is written out": ({"allOf": [opened(a=TEXT), opened("a")]}, opened("a", a=TEXT), []),
    "names that need escaping": (
        closed(**{"a/b~c": TEXT}),
        closed(**{"a/b~c": whole()}),
        [("type_narrowed", "/a~1b~0c", True)],
    ),
    "a tagged alternative more": (
        closed(a={"oneOf": [closed("kind", kind={"const": "x"})]}),
        closed(a={"oneOf": [closed("kind", kind={"const": "x"}), closed("kind", kind={"const": "y"})]}),
        [("widened", "/a/kind", False)],
    ),
    "alternatives that may hold at once": (
        closed(a={"oneOf": [TEXT, whole()]}),
        closed(a={"oneOf": [TEXT, whole(), {"type": "number"}]}),
        [("incomparable", "/a", True)],
    ),
}
OUTPUTS = {
    "field removed": (opened("a", "b", a=TEXT, b=TEXT), opened("a", a=TEXT), [("field_removed", "/b", True)]),
    "field of any kind removed": (opened(a=TEXT, b={}), opened(a=TEXT), [("field_removed", "/b", True)]),
    "field is optional now": (opened("a", a=TEXT), opened(a=TEXT), [("field_optional", "/a", True)]),
    "field is always there now": (opened(a=TEXT), opened("a", a=TEXT), [("narrowed", "/a", False)]),
    "field may be null now": (opened("a", a=TEXT), opened("a", a=NULLABLE), [("type_widened", "/a", True)]),
    "field is never null now": (opened("a", a=NULLABLE), opened("a", a=TEXT), [("narrowed", "/a", False)]),
    "field added": (opened(a=TEXT), opened(a=TEXT, b=TEXT), [("field_added", "/b", False)]),
    "field added where none was let through": (closed(a=TEXT), closed(a=TEXT, b=TEXT), [("field_added", "/b", True)]),
    "value more": (opened(a={"enum": ["x"]}), opened(a={"enum": ["x", "y"]}), [("values_widened", "/a", True)]),
    "value less": (opened(a={"enum": ["x", "y"]}), opened(a={"enum": ["x"]}), [("narrowed", "/a", False)]),
    "another type too": (opened(a=TEXT), opened(a={"type": ["string", "integer"]}), [("type_widened", "/a", True)]),
    "longer": (
        opened(a={**TEXT, "maxLength": 3}),
        opened(a={**TEXT, "maxLength": 4}),
        [("length_widened", "/a", True)],
    ),
    "further": (opened(a=whole(0)), opened(a=whole(-1)), [("range_widened", "/a", True)]),
    "pattern gone": (opened(a={**TEXT, "pattern": "^x"}), opened(a=TEXT), [("pattern_widened", "/a", True)]),
    "format gone": (opened(a={**TEXT, "format": "uri"}), opened(a=TEXT), [("format_widened", "/a", True)]),
    "opened": (closed(a=TEXT), opened(a=TEXT), [("opened", "/*", True)]),
    "defaults say nothing": (opened(a={**TEXT, "default": "x"}), opened(a=TEXT), []),
}


@pytest.mark.parametrize("case", INPUTS)
def test_inputs(case: str) -> None:
    old, new, expected = INPUTS[case]
    assert said(old, new, "input") == expected


@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs(case: str) -> None:
    old, new, expected = OUTPUTS[case]
    assert said(old, new, "output") == expected


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (closed(a={**TEXT, "maxLength": 9}), closed(a={**TEXT, "maxLength": 8}), "maxLength was 9, is now 8"),
        (closed(a=TEXT), closed(a={**TEXT, "maxLength": 8}), "maxLength was not set, is now 8"),
        (closed(a=whole(0)), closed(a=whole(1)), "the minimum was 0, is now 1"),
        (closed(a=NULLABLE), closed(a=TEXT), "no longer null"),
        (closed(a=TEXT), closed(a=whole()), "was string, is now integer"),
        (closed(a={"enum": ["x", "y"]}), closed(a={"enum": ["x"]}), 'no longer "y"'),
        (closed(a=TEXT), closed(a={"enum": ["x", "y"]}), 'was any string, is now one of "x", "y"'),
    ],
)
def test_one_sentence_says_what_changed(old: Any, new: Any, change: str) -> None:
    assert [item.change for item in compare_schemas(old, new, "input")] == [change]
    back = [item.change for item in compare_schemas(new, old, "output")]
    assert len(back) == 1
    assert back != [change]


def test_values_of_a_vendor_are_cut_and_never_move_the_cursor() -> None:
    old, new = closed(a={"enum": ["\x1b[2J\u202e" + "x" * 500, "y"]}), closed(a={"enum": ["y"]})
    (finding,) = compare_schemas(old, new, "input")
    assert finding.change.isprintable()
    assert len(finding.change) < 100


def deep(levels: int, leaf: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": deep(levels - 1, leaf) if levels else leaf}}


def doubling(levels: int, leaf: Any) -> dict[str, Any]:
    """Each definition refers to the next one twice: two to the power of `levels` places."""
    definitions: dict[str, Any] = {
        f"d{level}": opened(a={"$ref": f"#/$defs/d{level + 1}"}, b={"$ref": f"#/$defs/d{level + 1}"})
        for level in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{levels}": leaf}}


def crossing(width: int, leaf: Any) -> dict[str, Any]:
    """Alternatives of alternatives that hold together: `width` to the power of four clauses."""
    return {
        "allOf": [{"anyOf": [opened(**{f"f{number}{index}": leaf}) for index in range(width)]} for number in range(4)]
    }


def chained(length: int, leaf: Any) -> dict[str, Any]:
    definitions: dict[str, Any] = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": leaf}}


def nested(length: int, leaf: Any) -> dict[str, Any]:
    definitions: dict[str, Any] = {
        f"d{number}": opened(a={"$ref": f"#/$defs/d{number + 1}"}) for number in range(length)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": leaf}}


HOSTILE = {
    "deep": lambda leaf: deep(60, leaf),
    "deep by references": lambda leaf: nested(1000, leaf),
    "a long chain of references": lambda leaf: chained(3000, leaf),
    "doubling": lambda leaf: doubling(64, leaf),
    "crossing": lambda leaf: crossing(30, leaf),
    "a reference to itself": lambda leaf: {"$ref": "#", "properties": {"a": leaf}},
    "a reference in a ring": lambda leaf: {
        "$ref": "#/$defs/x",
        "$defs": {"x": {"allOf": [{"$ref": "#/$defs/y"}]}, "y": {"$ref": "#/$defs/x", "properties": {"a": leaf}}},
    },
    "a reference to nowhere": lambda leaf: {"$ref": "#/$defs/none", "properties": {"a": leaf}},
    "a reference to no schema": lambda leaf: {"$ref": "#/$defs/x/title", "$defs": {"x": {"title": "t", **leaf}}},
    "an anchor": lambda leaf: {"$ref": "#x", "$defs": {"x": {"$anchor": "x", **leaf}}},
    "an id inside": lambda leaf: {"properties": {"a": {"$id": "x", **leaf}}},
    "a pattern that takes for ever": lambda leaf: closed(a={**leaf, "pattern": "^(a+)+$"}),
    "many values": lambda leaf: closed(
        a={"enum": [leaf["type"], *(f"{number}{'a' * 50}!" for number in range(20_000))]}
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.timeout(60)
def test_hostile_schemas_end_soon_and_are_never_called_compatible(case: str) -> None:
    old, new = HOSTILE[case](TEXT), HOSTILE[case](whole())
    findings = compare_schemas(old, new, "input")
    assert any(item.breaking for item in findings)
    assert len(json.dumps([item.to_document() for item in findings])) < 100_000


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.timeout(60)
def test_hostile_schemas_that_did_not_change_give_nothing_or_cannot_be_compared(case: str) -> None:
    findings = compare_schemas(HOSTILE[case](TEXT), HOSTILE[case](TEXT), "input")
    assert {item.rule for item in findings} <= {"incomparable"}
