"""Draws JSON Schemas over a tiny world, changes them, and knows every instance of that world.

The world is so small (a few numbers, short texts of two letters, fields `a`, `b`, `c`) that all of its instances can be
tried: what a comparison claims about two schemas is checked against a validator, not against another comparison.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import jsonschema_rs
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

NAMES = ("a", "b", "c")
SCALARS: tuple[Any, ...] = (
    None,
    False,
    True,
    -2,
    0,
    1,
    1.0,
    1.5,
    2,
    3,
    4,
    6,
    7.5,
    "",
    "a",
    "b",
    "ab",
    "ba",
    "aab",
    "bbbb",
)
FEW: tuple[Any, ...] = (None, True, 0, 2, 1.5, "a", "abb")


def world() -> list[Any]:
    """Every instance that is tried."""
    lists = [list(items) for size in (0, 1, 2, 3) for items in itertools.product(FEW[:5], repeat=size)]
    flat = [
        dict(zip(names, values, strict=True))
        for size in (0, 1, 2)
        for names in itertools.combinations(NAMES, size)
        for values in itertools.product(FEW, repeat=size)
    ]
    full = [{"a": one, "b": two, "c": three} for one, two, three in itertools.product(FEW[2:6], repeat=3)]
    inner = [{}, {"a": 0}, {"a": "a"}, {"a": None, "b": 2}, {"c": [1.5]}, [], [2], ["a", None], [{"a": 2}]]
    deep = [{"a": value} for value in inner] + [{"b": value, "a": 2} for value in inner] + [[value] for value in inner]
    deep += [{"a": {"a": value}} for value in inner] + [{"a": {"a": {"a": value}}} for value in FEW]
    return [*SCALARS, *lists, *flat, *full, *deep]


WORLD = world()


def valid(schema: Any) -> list[bool]:
    """Which instances of the world a schema takes."""
    validator = jsonschema_rs.Draft202012Validator(schema)
    return [validator.is_valid(instance) for instance in WORLD]


def counterexample(narrow: Any, wide: Any) -> Any:
    """An instance of `narrow` that is none of `wide`, in a tuple; None when the world has none."""
    pairs = zip(WORLD, valid(narrow), valid(wide), strict=True)
    return next(((instance,) for instance, here, there in pairs if here and not there), None)


_small = st.integers(0, 3)
_numbers = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number", ["integer", "null"]])},
    optional={
        "minimum": st.sampled_from([-1, 0, 1, 1.5]),
        "maximum": st.sampled_from([2, 3.5, 4, 6]),
        "exclusiveMinimum": st.sampled_from([-2, 0, 0.5]),
        "exclusiveMaximum": st.sampled_from([3, 4.5, 7]),
        "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
        "default": st.sampled_from([1, 2]),
    },
)
_texts = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", ["string", "null"]])},
    optional={
        "minLength": _small,
        "maxLength": st.integers(1, 4),
        "pattern": st.sampled_from(["^a", "b$"]),
        "default": st.sampled_from(["a", "ab"]),
    },
)
_listed = st.one_of(
    st.builds(lambda values: {"enum": values}, st.lists(st.sampled_from(SCALARS), min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, st.sampled_from(SCALARS)),
    st.builds(
        lambda values: {"type": "string", "enum": values},
        st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3, unique=True),
    ),
)
_plain = st.sampled_from([{}, True, {"type": "boolean"}, {"type": "null"}, {"type": ["string", "integer"]}, False])
_references = st.sampled_from([{"$ref": "#/$defs/X"}, {"$ref": "#/$defs/Y"}, {"$ref": "#"}])


def _lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"type": st.just("array")},
        optional={
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "minItems": _small,
            "maxItems": _small,
            "uniqueItems": st.booleans(),
            "contains": inner,
        },
    )


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
            "required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
            "additionalProperties": st.just(False) | st.just(False) | inner,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "[bc]"]), inner, max_size=2),
            "propertyNames": st.sampled_from([{"enum": ["a", "b"]}, {"maxLength": 1}, {"pattern": "^a"}]),
            "minProperties": st.integers(0, 2),
            "maxProperties": _small,
            "dependentRequired": st.just({"a": ["b"]}),
        },
    )


def _combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pair = st.lists(inner, min_size=1, max_size=3)
    tagged = st.builds(
        lambda one, two: {
            "oneOf": [
                {"type": "object", "properties": {"a": {"const": 0}, "b": one}, "required": ["a"]},
                {"type": "object", "properties": {"a": {"const": 2}, "b": two}, "required": ["a"]},
            ]
        },
        inner,
        inner,
    )
    words = [st.builds(lambda parts, word=word: {word: parts}, pair) for word in ("anyOf", "allOf", "oneOf")]
    return st.one_of(*words, tagged, st.builds(lambda part: {"not": part}, inner))


schemas: st.SearchStrategy[Any] = st.recursive(
    _numbers | _texts | _listed | _plain | _references,
    lambda inner: _objects(inner) | _objects(inner) | _lists(inner) | _combined(inner),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A whole schema with definitions; references that a validator cannot follow to an end are left out."""
    top = draw(_objects(schemas) | _objects(schemas) | _combined(schemas) | _lists(schemas))
    document = {**top, "$defs": {"X": draw(_numbers | _texts | _objects(_references)), "Y": draw(_texts | _listed)}}
    return document if ends(document) else {"type": "object"}


def ends(document: Any) -> bool:
    """Whether a validator comes to an end: no reference leads back to itself without going deeper into an instance."""

    def loops(schema: Any, chain: tuple[str, ...]) -> bool:
        if not isinstance(schema, dict):
            return False
        here = [schema[word] for word in ("not", "if", "then", "else") if word in schema]
        here += [part for word in ("allOf", "anyOf", "oneOf") for part in schema.get(word, [])]
        reference = schema.get("$ref")
        if reference in chain:
            return True
        if reference is not None:
            target = document if reference == "#" else document["$defs"][reference.rpartition("/")[2]]
            if loops(target, (*chain, reference)):
                return True
        return any(loops(part, chain) for part in here)

    return not any(loops(part, ()) for part in _parts(document))


def _parts(schema: Any) -> list[Any]:
    """Every object of a document, which are its schemas and some more."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return [schema, *(part for value in inner for part in _parts(value))] if isinstance(schema, dict | list) else []


def places(schema: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a keyword or a sub-schema stands."""
    found: list[tuple[Any, ...]] = []
    items = schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ()
    for key, value in items:
        found += [(*path, key), *places(value, (*path, key))]
    return found


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """The same schema with up to three small changes: a keyword dropped, moved a little, or a part replaced."""
    result = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        spots = [path for path in places(result) if path[-1] not in {"$defs", "$ref"} and path[:-1] != ("$defs",)]
        if spots:
            _change(draw, result, draw(st.sampled_from(spots)))
    return result if acceptable(result) and ends(result) else copy.deepcopy(document)


def _change(draw: st.DrawFn, result: Any, path: tuple[Any, ...]) -> None:
    *parents, last = path
    place = result
    for key in parents:
        place = place[key]
    value = place[last]
    match value:
        case bool():
            place[last] = not value
        case int() | float():
            place[last] = value + draw(st.sampled_from([-1, 1, 2]))
        case list() if value and draw(st.booleans()):
            value.pop(draw(st.integers(0, len(value) - 1)))
        case dict() if draw(st.booleans()):
            place[last] = copy.deepcopy(draw(schemas))  # what was drawn is shared between examples
        case _ if isinstance(place, dict) and draw(st.booleans()):
            del place[last]
        case _:
            place["b" if last == "a" and isinstance(place, dict) else last] = value


def acceptable(schema: Any) -> bool:
    """Whether it is a JSON Schema."""
    try:
        Draft202012Validator.check_schema(schema)
    except Exception:  # noqa: BLE001 - a schema that is none raises several things
        return False
    return True
