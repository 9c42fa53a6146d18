"""Examples that are made up fit their schema, are the same every time, and what the author says comes first."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aisops_plugin_sdk.docs.examples import NoExample, example
from aisops_plugin_sdk.docs.wording import fields, kind

texts = st.builds(
    lambda low, more, form: {"type": "string", "minLength": low, "maxLength": low + more, **form},
    st.integers(0, 5),
    st.integers(0, 9),
    st.sampled_from([{}, {}, {"pattern": "^#"}, {"pattern": r"^[0-9]+\.[0-9]+$"}]),
)
numbers = st.builds(
    lambda type_, low, more: {"type": type_, "minimum": low, "maximum": low + more},
    st.sampled_from(["integer", "number"]),
    st.integers(-5, 5),
    st.integers(0, 9),
)
leaves = texts | numbers | st.sampled_from([{"type": "boolean"}, {"const": "x"}, {"enum": ["b", 1]}, {"type": "null"}])


def model(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["target", "text", "kind", "a b"])
    return st.builds(
        lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)},
        st.dictionaries(names, inner, max_size=3),
    )


schemas = model(
    st.recursive(
        leaves,
        lambda inner: (
            model(inner)
            | st.builds(lambda items, low: {"type": "array", "items": items, "minItems": low}, inner, st.integers(0, 2))
            | st.builds(lambda part: {"anyOf": [{"type": "null"}, part]}, inner)
        ),
        max_leaves=5,
    )
)


@given(schemas)
def test_what_is_made_up_is_valid_or_asked_for(schema: Any) -> None:
    if "pattern" not in str(schema):
        made = example(schema)
        assert example(copy.deepcopy(schema)) == made
        Draft202012Validator(schema).validate(made)


@given(schemas)
def test_where_a_pattern_is_not_met_by_chance_the_author_is_asked(schema: Any) -> None:
    try:
        made = example(schema)
    except NoExample as reason:
        made = str(reason)
    assert isinstance(made, dict) or ("must match" in made and "examples=[...]" in made)


@given(schemas)
def test_every_field_is_listed_once(schema: Any) -> None:
    places = [item.place for item in fields(schema)]
    assert len(places) == len(set(places))
    assert set(schema["properties"]) <= set(places)


def test_the_authors_own_examples_come_first() -> None:
    field = {"type": "string", "examples": ["#ops"], "default": "x"}
    assert example({"type": "object", "properties": {"a": field}}) == {"a": "#ops"}
    assert example({"type": "object", "properties": {"a": field}, "examples": [{"a": "whole"}]}) == {"a": "whole"}


def test_a_model_without_end_asks_for_an_example() -> None:
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    with pytest.raises(NoExample, match="no end"):
        example(endless)
    assert fields(endless)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "minLength": 1}, "string, not empty"),
        ({"type": "string", "minLength": 1, "maxLength": 4000}, "string, 1 to 4,000 characters"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 60}, "number, over 0, at most 60"),
        ({"type": "array", "items": {"type": "string", "maxLength": 9}, "maxItems": 5},
         "list of (string, at most 9 characters), at most 5 elements"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "map of names to string"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string"),
        ({"enum": ["a", 1]}, '`"a"`, `1`'),
        ({}, "anything"),
    ],
)  # fmt: skip
def test_a_schema_in_words(schema: Any, words: str) -> None:
    assert kind(schema) == words
