"""Makes an example of a JSON Schema, the same one every time. Pure.

What the author says wins: `examples` of a model or of a field, then constants, listed values and defaults. The rest is
made up; whoever uses it must validate it, because rules of the author's own code are not in a schema.
"""

import re
from collections.abc import Mapping
from typing import Any

from aisops_plugin_sdk.docs.wording import resolved

MAX_DEPTH = 8
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:00:00Z",
    "time": "09:00:00Z",
    "duration": "PT15M",
    "email": "someone@example.com",
    "hostname": "host.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "7f1f2a52-0f5e-4c0a-9d56-0a2f8f6f2f6e",
}
_TRIED = (
    "a",
    "A",
    "1",
    "10",
    "1.0",
    "a1",
    "A1",
    "a-1",
    "a.b",
    "abc",
    "ABC",
    "#ops",
    "user@example.com",
    "+10000000000",
)
_PAD = "x"


class NoExample(Exception):
    """No example can be made up; the text names the place and asks the author for one."""


def example(schema: Mapping[str, Any]) -> Any:
    """Give the first example of a schema, or make one.

    Raises:
        NoExample: a text must match a pattern, or the schema has no end.
    """
    return _value(schema, schema, "", 0)


def _value(schema: Any, root: Mapping[str, Any], place: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise NoExample(f"{place or 'it'} has no end; give the model `examples`")
    known = resolved(schema, root)
    if known.get("examples"):
        return known["examples"][0]
    if "const" in known:
        return known["const"]
    if known.get("enum"):
        return known["enum"][0]
    if known.get("default") is not None:
        return known["default"]
    for word in ("allOf", "oneOf", "anyOf"):
        if known.get(word):
            chosen = next(
                (part for part in known[word] if resolved(part, root).get("type") != "null"), {"type": "null"}
            )
            return _value(chosen, root, place, depth + 1)
    return _typed(known, root, place, depth)


def _typed(known: Mapping[str, Any], root: Mapping[str, Any], place: str, depth: int) -> Any:
    types = known.get("type", "object" if "properties" in known else "string")
    match types if isinstance(types, str) else next((name for name in types if name != "null"), "null"):
        case "object":
            return _object(known, root, place, depth)
        case "array":
            items = known.get("items", {"type": "string"})
            return [_value(items, root, f"{place}[]", depth + 1) for _ in range(known.get("minItems", 0))]
        case "integer" | "number":
            return _number(known)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _text(known, place)


def _object(known: Mapping[str, Any], root: Mapping[str, Any], place: str, depth: int) -> dict[str, Any]:
    """Fill in what is required and what the author gave examples of."""
    required = known.get("required", [])
    return {
        name: _value(part, root, f"{place}.{name}" if place else name, depth + 1)
        for name, part in known.get("properties", {}).items()
        if name in required or resolved(part, root).get("examples")
    }


def _number(known: Mapping[str, Any]) -> int | float:
    step: int | float = known.get("multipleOf", 1)
    low = known.get("minimum", known.get("exclusiveMinimum"))
    high = known.get("maximum", known.get("exclusiveMaximum"))
    number: int | float = max(step, 1) if low is None else low + (step if "exclusiveMinimum" in known else 0)
    if high is not None and number > high:
        number = high - (step if "exclusiveMaximum" in known else 0)
    return number


def _text(known: Mapping[str, Any], place: str) -> str:
    shortest, longest = known.get("minLength", 0), known.get("maxLength", 10_000)
    name = re.sub(r"\W+", " ", place.rpartition(".")[2]).strip() or "text"
    wanted = _FORMATS.get(known.get("format", ""), name)
    pattern = known.get("pattern")
    for text in (wanted, *_TRIED):
        fitted = text.ljust(shortest, _PAD)[:longest]
        if pattern is None or re.search(pattern, fitted):
            return fitted
    raise NoExample(f"{place or 'it'} must match {pattern!r}; give the field an example: Field(examples=[...])")
