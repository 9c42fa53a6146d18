"""Schemas as models give them, widened at random: nothing that only lets more in may be called breaking.

The oracle shows that silence is true; this shows that the comparison is not loud for nothing.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aisops_plugin_sdk.diff.schemas import compare_schemas

NAMES = st.sampled_from(["target", "text", "count", "kind", "items", "a/b"])
_texts = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={"maxLength": st.integers(1, 50), "minLength": st.integers(1, 5), "pattern": st.just("^#")},
)
_numbers = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={
        "minimum": st.integers(0, 5),
        "maximum": st.integers(6, 9),
        "exclusiveMinimum": st.just(-1),
        "multipleOf": st.just(4),
    },
)
_listed = st.lists(st.sampled_from(["x", "y", "z", 1]), min_size=1, max_size=3, unique=True)
leaves = (
    _texts
    | _numbers
    | st.fixed_dictionaries({"enum": _listed})
    | st.fixed_dictionaries({"type": st.just("boolean")}, optional={"default": st.booleans()})
)


def _object(fields: dict[str, Any], needed: list[str]) -> dict[str, Any]:
    required = [name for name in needed if name in fields]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def _more(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(_object, st.dictionaries(NAMES, inner, max_size=3), st.lists(NAMES, max_size=2, unique=True)),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(1, 9)}),
        st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner}),
        st.builds(lambda part: {"anyOf": [part, {"type": "null"}]}, inner),
    )


models = st.builds(_object, st.dictionaries(NAMES, st.recursive(leaves, _more, max_leaves=5), min_size=1), st.just([]))


def widen(draw: st.DrawFn, schema: Any) -> Any:
    """Widen a schema at random places."""
    result = copy.deepcopy(schema)
    _widen_limits(draw, result)
    for word in ("items", "additionalProperties"):
        if isinstance(result.get(word), dict):
            result[word] = widen(draw, result[word])
    if "anyOf" in result:
        result["anyOf"] = [widen(draw, part) for part in reversed(result["anyOf"])]
    if "properties" in result:
        _widen_fields(draw, result)
    nullable = draw(st.integers(0, 5)) == 0 and "default" not in result
    return {"anyOf": [{"type": "null"}, result]} if nullable else result


def _widen_limits(draw: st.DrawFn, result: dict[str, Any]) -> None:
    moves = {"maxLength": 2, "maximum": 3, "maxItems": 1, "minLength": -1, "minimum": -1, "exclusiveMinimum": -2}
    for word in sorted(moves.keys() & result.keys()):
        if draw(st.booleans()):
            result[word] = max(result[word] + moves[word], 0) if word.endswith("Length") else result[word] + moves[word]
    for word in ("maxLength", "minimum", "pattern", "multipleOf", "maxItems"):
        if word in result and draw(st.integers(0, 3)) == 0:
            del result[word]
    if result.get("multipleOf") == 4 and draw(st.booleans()):
        result["multipleOf"] = 2
    if "enum" in result and draw(st.booleans()):
        result["enum"] = ["new", *reversed(result["enum"])]
    if result.get("type") == "integer" and draw(st.booleans()):
        result["type"] = "number"


def _widen_fields(draw: st.DrawFn, result: dict[str, Any]) -> None:
    result["properties"] = {name: widen(draw, part) for name, part in result["properties"].items()}
    if result["required"] and draw(st.booleans()):
        result["required"] = result["required"][1:]
    if draw(st.booleans()):
        result["properties"]["further"] = draw(leaves)


@st.composite
def widened(draw: st.DrawFn) -> tuple[Any, Any]:
    old = draw(models)
    return old, widen(draw, old)


@settings(max_examples=400)
@given(widened())
def test_a_widened_input_never_breaks(pair: tuple[Any, Any]) -> None:
    assert not [item for item in compare_schemas(*pair, "input") if item.breaking]


@settings(max_examples=200)
@given(widened())
def test_what_widens_an_input_is_shown_when_it_changed_anything(pair: tuple[Any, Any]) -> None:
    old, new = pair
    back = compare_schemas(new, old, "input")
    assert bool(compare_schemas(old, new, "input")) == bool(back)
