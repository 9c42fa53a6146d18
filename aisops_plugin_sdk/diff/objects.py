"""Gaps between two clauses of objects: fields that are named, required, removed, added, or not named at all. Pure."""

from typing import Any

from aisops_plugin_sdk.diff import shape
from aisops_plugin_sdk.diff.clauses import Clause
from aisops_plugin_sdk.diff.gaps import Gap, Kind, Prover, Words, below, quoted
from aisops_plugin_sdk.diff.keywords import Schema, Term
from aisops_plugin_sdk.diff.same import equal
from aisops_plugin_sdk.diff.scalars import at_most

_MISSING = object()


def object_gaps(narrow: Clause, wide: Clause, path: str, prover: Prover) -> list[Gap]:
    """Compare two clauses of objects."""
    found: list[Gap] = []
    for name in dict.fromkeys([*shape.names(narrow), *shape.names(wide), *sorted(shape.required(wide))]):
        found += _field_gaps(narrow, wide, name, below(path, name), prover)
    found += _other_gaps(narrow, wide, path, prover)
    found += _name_gaps(narrow, wide, path, prover)
    return found + _count_gaps(narrow, wide, path, prover.words)


def _field_gaps(narrow: Clause, wide: Clause, name: str, path: str, prover: Prover) -> list[Gap]:
    """Compare one named field. A field that is new or gone is one gap, whatever else is to be said about it."""
    words = prover.words
    here, there = name in shape.names(narrow), name in shape.names(wide)
    needed = name in shape.required(wide) and name not in shape.required(narrow)
    if needed:
        return [_need(path, words, only_wide=there and not here)]
    if not here and not there:
        return []  # `_other_gaps` compares it
    mine, theirs = shape.patterns(narrow), shape.patterns(wide)
    patterned = () if mine.keys() == theirs.keys() else theirs.values()
    found = prover.gaps(shape.field_at_most(narrow, name), shape.field_at_least(wide, name, patterned), path)
    if here and there:
        return found + _default_gaps(narrow, wide, name, path, prover)
    old_has_it = here is words.old_is_narrow
    if found:
        return [_one_gap(path, old_has_it=old_has_it, open_before=there and words.old_is_narrow)]
    if old_has_it and prover.drops_names() and _lost(wide if here else narrow, words):
        return [Gap(Kind.REMOVED, path, "the field is no longer named")]
    return []


def _need(path: str, words: Words, *, only_wide: bool) -> Gap:
    """Say that the wide side always has a field which the narrow one may lack."""
    if words.old_is_narrow:
        change = "the field is new, and required" if only_wide else "the field was optional, is now required"
        return Gap(Kind.REQUIRED, path, change)
    if only_wide:
        return Gap(Kind.REMOVED, path, "the field is gone")
    return Gap(Kind.REQUIRED, path, "the field was required, is now optional")


def _one_gap(path: str, *, old_has_it: bool, open_before: bool) -> Gap:
    """Say in one gap that a field is named on one side only and does not fit what the other says about unnamed ones."""
    if old_has_it:
        return Gap(Kind.REMOVED, path, "the field is gone")
    return Gap(Kind.ADDED, path, "the field is new" + ("; before, anything could stand there" if open_before else ""))


def _lost(new: Clause, words: Words) -> bool:
    """Whether a field that is named no more is lost although anything may stand there.

    A new input that names no field at all takes any on purpose.
    """
    return not shape.others(new) and not shape.patterns(new) and (bool(shape.names(new)) or not words.old_is_narrow)


def _default_gaps(narrow: Clause, wide: Clause, name: str, path: str, prover: Prover) -> list[Gap]:
    """Compare what stands for a field that is left out; readers of outputs do not look at defaults."""
    if not prover.with_defaults or name in shape.required(wide):
        return []
    old, new = _default(narrow, name), _default(wide, name)
    if old is _MISSING or equal(old, new):
        return []
    if new is _MISSING:
        return [Gap(Kind.DEFAULT_REMOVED, path, f"the default {quoted(old)} is gone")]
    return [Gap(Kind.DEFAULT_CHANGED, path, f"the default was {quoted(old)}, is now {quoted(new)}")]


def _default(clause: Clause, name: str) -> Any:
    written = (part.get("properties", {}).get(name) for part in clause.parts)
    return next((schema["default"] for schema in written if isinstance(schema, dict) and "default" in schema), _MISSING)


def _other_gaps(narrow: Clause, wide: Clause, path: str, prover: Prover) -> list[Gap]:
    """Compare what holds for fields that neither side names."""
    mine, theirs = shape.patterns(narrow), shape.patterns(wide)
    place = below(path, "*")
    if mine.keys() == theirs.keys():
        found = [gap for key in mine for gap in prover.gaps((mine[key],), (theirs[key],), place)]
        return found + _closed(shape.others(narrow), shape.others(wide), place, prover)
    known = _unnamed(shape.others(narrow), mine)
    if not prover.gaps(known, (*shape.others(wide), *theirs.values()), place):
        return []
    return [Gap(Kind.INCOMPARABLE, place, "the patterns for names of fields changed; they are not tried on names")]


def _unnamed(beyond: Term, patterned: dict[str, Schema]) -> Term:
    """What certainly holds for a field that is not named: one of the patterns' rules, or what holds beyond them."""
    return ({"anyOf": [*patterned.values(), {"allOf": list(beyond)}]},) if patterned and beyond else beyond


def _closed(narrow: Term, wide: Term, place: str, prover: Prover) -> list[Gap]:
    found = prover.gaps(narrow, wide, place)
    if found and False in wide:
        return [Gap(Kind.CLOSED, place, prover.words.lost("fields that are not named"))]
    return found


def _name_gaps(narrow: Clause, wide: Clause, path: str, prover: Prover) -> list[Gap]:
    """Compare rules for the names of fields (`propertyNames`)."""
    rules = shape.unique(part["propertyNames"] for part in wide.parts if "propertyNames" in part)
    if not rules:
        return []
    known = shape.unique(part["propertyNames"] for part in narrow.parts if "propertyNames" in part)
    if False in shape.others(narrow) and not shape.patterns(narrow):
        known = (*known, {"enum": shape.names(narrow)})
    found = prover.gaps(({"type": "string"}, *known), rules, below(path, "*"))
    return [Gap(gap.kind, gap.path, f"names of fields: {gap.change}") for gap in found]


def _count_gaps(narrow: Clause, wide: Clause, path: str, words: Words) -> list[Gap]:
    found = []
    fewest = shape.least(narrow, "minProperties"), shape.least(wide, "minProperties")
    if max(fewest[0], len(shape.required(narrow))) < fewest[1]:
        found.append(Gap(Kind.LENGTH, path, words.changed("minProperties", *(number or None for number in fewest))))
    largest = shape.most(narrow, "maxProperties"), shape.most(wide, "maxProperties")
    if not at_most(_largest(narrow), largest[1]):
        found.append(Gap(Kind.LENGTH, path, words.changed("maxProperties", *largest)))
    return found


def _largest(clause: Clause) -> int | None:
    """The largest number of fields, also where no others than the named ones are allowed."""
    known = [shape.most(clause, "maxProperties")]
    known += [
        len(part.get("properties", ()))
        for part in clause.parts
        if part.get("additionalProperties") is False and not part.get("patternProperties")
    ]
    return min((number for number in known if number is not None), default=None)
