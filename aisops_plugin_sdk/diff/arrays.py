"""Gaps between two clauses of arrays. Pure."""

from aisops_plugin_sdk.diff import shape
from aisops_plugin_sdk.diff.clauses import Clause
from aisops_plugin_sdk.diff.gaps import Gap, Kind, Prover, below
from aisops_plugin_sdk.diff.scalars import at_most


def array_gaps(narrow: Clause, wide: Clause, path: str, prover: Prover) -> list[Gap]:
    """Compare numbers of elements, then the elements: the first ones each, the rest together."""
    words = prover.words
    found = []
    fewest = shape.least(narrow, "minItems"), shape.least(wide, "minItems")
    if fewest[0] < fewest[1]:
        found.append(Gap(Kind.LENGTH, path, words.changed("minItems", *(number or None for number in fewest))))
    longest = shape.most(narrow, "maxItems"), shape.most(wide, "maxItems")
    if not at_most(_longest(narrow), longest[1]):
        found.append(Gap(Kind.LENGTH, path, words.changed("maxItems", *longest)))
    if _repeats(narrow) and not _repeats(wide):
        found.append(Gap(Kind.VALUES, path, words.lost("elements that are equal")))
    return found + _element_gaps(narrow, wide, path, prover)


def _element_gaps(narrow: Clause, wide: Clause, path: str, prover: Prover) -> list[Gap]:
    found: list[Gap] = []
    first = max(shape.prefix(narrow), shape.prefix(wide))
    longest = shape.most(narrow, "maxItems")
    for index in range(first if longest is None else min(first, longest)):
        found += prover.gaps(shape.element(narrow, index), shape.element(wide, index), below(path, index))
    if longest is None or longest > first:
        found += prover.gaps(shape.element(narrow, first), shape.element(wide, first), below(path, "*"))
    return found


def _longest(clause: Clause) -> int | None:
    """The largest number of elements, also where `items: false` ends a list of first ones."""
    known = [shape.most(clause, "maxItems")]
    known += [len(part.get("prefixItems", ())) for part in clause.parts if part.get("items") is False]
    return min((number for number in known if number is not None), default=None)


def _repeats(clause: Clause) -> bool:
    """Whether two elements may be equal."""
    longest = _longest(clause)
    return not any(part.get("uniqueItems") for part in clause.parts) and (longest is None or longest > 1)
