"""What the keywords of a clause say together: bounds, lengths, fields and elements. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aisops_plugin_sdk.diff.clauses import Clause, Part
from aisops_plugin_sdk.diff.gaps import Undecidable
from aisops_plugin_sdk.diff.keywords import Schema, Term

Number = int | float
_FIELD_WORDS = {"properties", "patternProperties", "additionalProperties"}


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit of numbers; an `open` one is not itself allowed."""

    value: Number
    open: bool = False

    def __str__(self) -> str:
        return f"{'beyond ' if self.open else ''}{self.value}"


def lower(clause: Clause) -> Bound | None:
    """The largest lower limit, for integers the smallest integer allowed; None without one."""
    found = [Bound(part["minimum"]) for part in clause.parts if "minimum" in part]
    found += [Bound(part["exclusiveMinimum"], open=True) for part in clause.parts if "exclusiveMinimum" in part]
    if clause.type == "integer":
        found = [Bound(math.floor(item.value) + 1 if item.open else math.ceil(item.value)) for item in found]
    return max(found, key=lambda bound: (bound.value, bound.open), default=None)


def upper(clause: Clause) -> Bound | None:
    """The smallest upper limit, for integers the largest integer allowed; None without one."""
    found = [Bound(part["maximum"]) for part in clause.parts if "maximum" in part]
    found += [Bound(part["exclusiveMaximum"], open=True) for part in clause.parts if "exclusiveMaximum" in part]
    if clause.type == "integer":
        found = [Bound(math.ceil(item.value) - 1 if item.open else math.floor(item.value)) for item in found]
    return min(found, key=lambda bound: (bound.value, not bound.open), default=None)


def least(clause: Clause, word: str) -> int:
    """The largest of the limits `minLength`, `minItems` or `minProperties`."""
    return max((int(part[word]) for part in clause.parts if word in part), default=0)


def most(clause: Clause, word: str) -> int | None:
    """The smallest of the limits `maxLength`, `maxItems` or `maxProperties`; None without one."""
    return min((int(part[word]) for part in clause.parts if word in part), default=None)


def said(clause: Clause, word: str) -> set[Any]:
    """Everything the parts say by one keyword whose values are texts or numbers."""
    return {part[word] for part in clause.parts if word in part}


def names(clause: Clause) -> list[str]:
    """The fields that are named, in order."""
    return list(dict.fromkeys(name for part in clause.parts for name in part.get("properties", ())))


def required(clause: Clause) -> set[str]:
    """The fields that are always there."""
    return {name for part in clause.parts for name in part.get("required", ())}


def patterns(clause: Clause) -> dict[str, Schema]:
    """What holds for fields whose name matches a pattern.

    Raises:
        Undecidable: other parts have rules for fields too, and to which fields which applies is not worked out.
    """
    parts = [part for part in clause.parts if _FIELD_WORDS & part.keys()]
    found = [part["patternProperties"] for part in parts if part.get("patternProperties")]
    if found and len(parts) > 1:
        raise Undecidable("patternProperties stand in an allOf with other rules for fields")
    return dict(found[0]) if found else {}


def field_at_most(clause: Clause, name: str) -> Term:
    """What certainly holds for the field `name`, patterns not tried: on the narrow side this lets enough through."""
    return unique(_field(part, name, _either) for part in clause.parts)


def field_at_least(clause: Clause, name: str, patterned: Iterable[Schema]) -> Term:
    """What suffices for the field `name` on the wide side, patterns not tried: all of `patterned` might hold."""
    return unique([*(_field(part, name, _beyond) for part in clause.parts), *patterned])


def others(clause: Clause) -> Term:
    """What holds for fields that are not named and match no pattern."""
    return unique(_beyond(part) for part in clause.parts)


def element(clause: Clause, index: int) -> Term:
    """What holds for the element at an index."""
    return unique(_element(part, index) for part in clause.parts)


def prefix(clause: Clause) -> int:
    """How many first elements have rules of their own."""
    return max((len(part.get("prefixItems", ())) for part in clause.parts), default=0)


def unique(schemas: Iterable[Schema]) -> Term:
    """Leave out `true` and what is there already."""
    found: dict[int, Schema] = {id(schema): schema for schema in schemas if schema is not True}
    return tuple(found.values())


def _field(part: Part, name: str, otherwise: Any) -> Schema:
    named: dict[str, Schema] = part.get("properties", {})
    return named[name] if name in named else otherwise(part)


def _beyond(part: Part) -> Schema:
    found: Schema = part.get("additionalProperties", True)
    return found


def _either(part: Part) -> Schema:
    """A field that is not named matches one of the patterns, or none of them."""
    matching = part.get("patternProperties")
    return {"anyOf": [*matching.values(), _beyond(part)]} if matching else _beyond(part)


def _element(part: Part, index: int) -> Schema:
    first: list[Schema] = part.get("prefixItems", [])
    rest: Schema = part.get("items", True)
    return first[index] if index < len(first) else rest
