"""Says a JSON Schema in a few words and lists its fields, for tables that people read. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MAX_DEPTH = 4
MAX_VALUES = 12
_SIZES = (
    ("characters", "minLength", "maxLength"),
    ("elements", "minItems", "maxItems"),
    ("fields", "minProperties", "maxProperties"),
)
_OTHERS = {
    "exclusiveMaximum": "under {}",
    "multipleOf": "multiples of {}",
    "pattern": "matching `{}`",
    "format": "{}",
}


class Field(NamedTuple):
    """One row of a table of fields. `place` is dotted, with `[]` for elements of a list."""

    place: str
    kind: str
    needed: str
    meaning: str


def fields(schema: Mapping[str, Any]) -> list[Field]:
    """List the fields of an object's schema, those of inner objects below it, at most four levels deep."""
    return list(_fields(schema, schema, "", 0))


def kind(schema: Any, root: Mapping[str, Any] | None = None) -> str:
    """Say the type of a schema and its limits, such as `string, at most 128 long`."""
    return _kind(schema, root if root is not None else schema if isinstance(schema, Mapping) else {}, 0)


def _fields(schema: Any, root: Mapping[str, Any], place: str, depth: int) -> Iterator[Field]:
    known = resolved(schema, root)
    required = known.get("required", [])
    for name, part in known.get("properties", {}).items():
        here = f"{place}.{name}" if place else name
        yield Field(here, kind(part, root), _needed(part, name in required), _meaning(part, root))
        if depth < MAX_DEPTH:
            for inner, suffix in _inner(part, root):
                yield from _fields(inner, root, here + suffix, depth + 1)


def _inner(part: Any, root: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """List the objects with named fields that stand directly in a field, in a list of it, or as an alternative."""
    known = resolved(part, root)
    if "properties" in known:
        yield known, ""
    if isinstance(known.get("items"), Mapping):
        yield from ((inner, f"[]{suffix}") for inner, suffix in _inner(known["items"], root))
    for other in (*known.get("anyOf", ()), *known.get("oneOf", ())):
        yield from _inner(other, root)


def resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references inside the document; what stands beside a reference wins."""
    if not isinstance(schema, Mapping):
        return {}
    known: Mapping[str, Any] = schema
    met: set[str] = set()
    while isinstance(reference := known.get("$ref"), str) and reference not in met:
        met.add(reference)
        found: Any = root
        for name in reference.removeprefix("#").split("/")[1:]:
            found = found.get(name, {}) if isinstance(found, Mapping) else {}
        beside = {key: value for key, value in known.items() if key != "$ref"}
        known = {**(dict(found) if isinstance(found, Mapping) else {}), **beside}
    return known


def _needed(part: Any, required: bool) -> str:  # noqa: FBT001 - one fact
    if required:
        return "required"
    default = part.get("default") if isinstance(part, Mapping) else None
    return "" if default in (None, "", [], {}) else f"default `{json.dumps(default, ensure_ascii=False)}`"


def _meaning(part: Any, root: Mapping[str, Any]) -> str:
    return str(resolved(part, root).get("description", "")) if isinstance(part, Mapping) else ""


def _kind(schema: Any, root: Mapping[str, Any], depth: int) -> str:
    if schema is True or not isinstance(schema, Mapping):
        return "anything"
    known = resolved(schema, root)
    if "enum" in known or "const" in known:
        values = known.get("enum", [known.get("const")])
        shown = ", ".join(f"`{json.dumps(value, ensure_ascii=False)}`" for value in values[:MAX_VALUES])
        return shown + (", …" if len(values) > MAX_VALUES else "")
    alternatives = [*known.get("anyOf", ()), *known.get("oneOf", ())]
    if alternatives:
        kinds = [_kind(part, root, depth) for part in alternatives]
        return " or ".join(dict.fromkeys(text for text in kinds if text != "null")) or "null"
    types = known.get("type", [])
    named = " or ".join([types] if isinstance(types, str) else types) or "anything"
    return ", ".join([_container(named, known, root, depth), *_limits(known)])


def _container(named: str, known: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> str:
    """Say of what a list or a map is made."""
    if depth >= MAX_DEPTH:
        return named
    if named == "array" and isinstance(known.get("items"), Mapping):
        return f"list of {_inside(known['items'], root, depth)}"
    if named == "array":
        return "list"
    beyond = known.get("additionalProperties")
    if named == "object" and "properties" not in known and isinstance(beyond, Mapping):
        return f"map of names to {_inside(beyond, root, depth)}"
    return named


def _inside(schema: Any, root: Mapping[str, Any], depth: int) -> str:
    """Say a kind so that it can stand in a longer one."""
    text = _kind(schema, root, depth + 1)
    return f"({text})" if ", " in text or " or " in text else text


def _limits(known: Mapping[str, Any]) -> Iterator[str]:
    for what, low, high in _SIZES:
        fewest, largest = known.get(low) or None, known.get(high)
        if (size := _range(fewest, largest)) is not None:
            yield "not empty" if (fewest, largest) == (1, None) else f"{size} {what}"
    if "exclusiveMinimum" in known:
        yield f"over {known['exclusiveMinimum']}"
    if (numbers := _range(known.get("minimum"), known.get("maximum"))) is not None:
        yield numbers
    for word, text in _OTHERS.items():
        if word in known:
            yield text.format(known[word])


def _range(low: Any, high: Any) -> str | None:
    if low is None and high is None:
        return None
    if low is None:
        return f"at most {high:,}"
    return f"at least {low:,}" if high is None else f"{low:,} to {high:,}"
