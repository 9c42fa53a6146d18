"""The proof that every instance of a narrow schema is an instance of a wide one, or the gaps in it. Pure.

Both are taken apart into clauses. Each narrow clause must fit into one wide clause; the rules for numbers, texts,
arrays and objects say what keeps it from that. Schemas that refer to themselves are taken to fit while they are being
looked at, which is right because instances are finite. Whatever is not understood is a gap of its own kind: silence
means that it was proven.
"""

from collections.abc import Hashable
from typing import Any

from aisops_plugin_sdk.diff import apart, shape
from aisops_plugin_sdk.diff.arrays import array_gaps
from aisops_plugin_sdk.diff.clauses import Clause, Reader, fits_type, type_of
from aisops_plugin_sdk.diff.gaps import (
    MAX_DEPTH,
    Collected,
    Effort,
    Gap,
    Kind,
    TooLarge,
    Undecidable,
    Words,
    quoted,
)
from aisops_plugin_sdk.diff.keywords import CONDITION_TYPES, CONDITIONS, Schema, Term
from aisops_plugin_sdk.diff.objects import object_gaps
from aisops_plugin_sdk.diff.same import identity, same
from aisops_plugin_sdk.diff.scalars import format_gaps, number_gaps, text_gaps

MAX_VALUES_NAMED = 5
Listed = tuple[Clause, set[Hashable] | None]


def gaps_between(narrow: Schema, wide: Schema, words: Words, *, with_defaults: bool, removals: bool) -> list[Gap]:
    """List what keeps the instances of `narrow` from being instances of `wide`; an empty list is a proof.

    Args:
        narrow: a schema that passed `contracts.check_schema`, as must `wide`.
        wide: the schema that should let everything through.
        words: which of them is the old one.
        with_defaults: also report defaults of the old schema that the new one has not.
        removals: also report fields of the old schema that the new one names no more but would let through.
    """
    proof = Proof(narrow, wide, words, with_defaults=with_defaults, removals=removals)
    try:
        return proof.gaps((narrow,), (wide,), "")
    except TooLarge as reason:
        return [Gap(Kind.INCOMPARABLE, "", str(reason))]


class Proof:
    """One attempt at a proof; the arguments are those of `gaps_between`."""

    def __init__(self, narrow: Schema, wide: Schema, words: Words, *, with_defaults: bool, removals: bool) -> None:
        self._effort = Effort()
        self._narrow = Reader(narrow, self._effort)
        self._wide = Reader(wide, self._effort)
        self._assumed: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
        self._removals = removals
        self.words = words
        self.with_defaults = with_defaults

    def drops_names(self) -> bool:
        """Whether a field that is named no more is reported although it would be let through."""
        return self._removals

    def gaps(self, narrow: Term, wide: Term, path: str) -> list[Gap]:
        """Compare what holds at one place of an instance.

        Raises:
            TooLarge: the schemas take more steps than allowed.
        """
        self._effort.spend()
        narrow, wide = self._narrow.through(narrow), self._wide.through(wide)
        pair = tuple(map(id, narrow)), tuple(map(id, wide))
        if pair in self._assumed:
            return []
        if path.count("/") > MAX_DEPTH:
            raise TooLarge("the schemas are nested too deeply")
        self._assumed.add(pair)
        try:
            return [] if self._unchanged(narrow, wide) else self._by_clauses(narrow, wide, path)
        except Undecidable as reason:
            return [Gap(Kind.INCOMPARABLE, path, f"it changed, and cannot be compared: {reason}")]
        finally:
            self._assumed.remove(pair)

    def _unchanged(self, narrow: Term, wide: Term) -> bool:
        if len(narrow) != len(wide):
            return False
        return all(self._same(one, other) for one, other in zip(narrow, wide, strict=True))

    def _same(self, one: Schema, other: Schema) -> bool:
        return same(one, other, self._narrow.resolve, self._wide.resolve, self._effort.spend)

    def _by_clauses(self, narrow: Term, wide: Term, path: str) -> list[Gap]:
        """Find a wide clause for each narrow one, or the gaps to the nearest."""
        mine = self._narrow.clauses(narrow)
        theirs = self._wide.clauses(wide, lambda alternatives: apart.require(alternatives, self._wide))
        found = Collected()
        lost: list[Clause] = []
        for clause in mine:
            if not any(_alike(clause, other) for other in theirs):
                lost.append(clause)
            elif (values := clause.values()) is not None:
                found.add(*self._value_gaps(clause, values, theirs, path))
            else:
                found.add(*self._nearest(clause, theirs, path))
        if lost:
            found.add(_type_gap(lost, mine, theirs, path, self.words))
        return list(found.found)

    def _nearest(self, clause: Clause, others: list[Clause], path: str) -> list[Gap]:
        """The gaps to the clause with the fewest; none when one lets everything through."""
        best: list[Gap] | None = None
        for other in others:
            if not _alike(clause, other):
                continue
            found = self._clause_gaps(clause, other, path)
            if not found:
                return []
            if best is None or _weight(found) < _weight(best):
                best = found
        return best or []

    def _clause_gaps(self, narrow: Clause, wide: Clause, path: str) -> list[Gap]:
        """Compare two clauses by the rules of their type."""
        self._effort.spend()
        if (listed := wide.values()) is not None and narrow.values() is None:
            change = self.words.became(f"any {narrow.type}", f"one of {_listing(listed)}")
            return [Gap(Kind.VALUES, path, change)]
        self._compare_conditions(narrow, wide)
        match narrow.type:
            case "number" | "integer":
                plain = number_gaps(narrow, wide, path, self.words)
                return plain + format_gaps(narrow, wide, path, self.words)
            case "string":
                return text_gaps(narrow, wide, path, self.words) + format_gaps(narrow, wide, path, self.words)
            case "array":
                return array_gaps(narrow, wide, path, self)
            case "object":
                return object_gaps(narrow, wide, path, self)
            case _:
                return []

    def _value_gaps(self, clause: Clause, values: list[Any], others: list[Clause], path: str) -> list[Gap]:
        """Try each of a few values against the wide clauses."""
        refused = []
        reasons = Collected()
        targets = [(other, _identities(other)) for other in others]
        for value in values:
            found = self._one_value(clause, value, targets, path)
            reasons.add(*(gap for gap in found if gap.kind is Kind.INCOMPARABLE))
            if found and not any(gap.kind is Kind.INCOMPARABLE for gap in found):
                refused.append(value)
        if refused:
            reasons.add(Gap(Kind.VALUES, path, self.words.lost(_listing(refused))))
        return list(reasons.found)

    def _one_value(self, clause: Clause, value: Any, others: list[Listed], path: str) -> list[Gap]:
        """The gaps of a clause that has one value only."""
        best: list[Gap] = [Gap(Kind.VALUES, path, "")]
        pinned = _pinned(clause, value)
        for other, listed in others:
            self._effort.spend()
            if not fits_type(pinned.type, other.type) or (listed is not None and identity(value) not in listed):
                continue
            found = self._pinned_gaps(pinned, other, path, listed=listed is not None)
            if not found:
                return []
            best = found
        return best

    def _pinned_gaps(self, pinned: Clause, other: Clause, path: str, *, listed: bool) -> list[Gap]:
        plain = all(part.keys() <= {"type", "enum", "const", "title", "description"} for part in other.parts)
        if listed and plain:
            return []
        if pinned.type in {"array", "object"} and not plain:
            change = f"the value {quoted(pinned.parts[-1]['const'])} is compared with plain lists of values only"
            return [Gap(Kind.INCOMPARABLE, path, change)]
        try:
            found = self._clause_gaps(pinned, other, path)
        except Undecidable as reason:
            return [Gap(Kind.INCOMPARABLE, path, str(reason))]
        if any(gap.kind in {Kind.PATTERN, Kind.FORMAT} for gap in found):
            change = f"whether {quoted(pinned.parts[-1]['const'])} keeps to the pattern or format is not tried"
            return [Gap(Kind.INCOMPARABLE, path, change)]
        return found

    def _compare_conditions(self, narrow: Clause, wide: Clause) -> None:
        """Require that each condition of the wide clause stands in the narrow one too.

        Raises:
            Undecidable: one does not.
        """
        for word, group in CONDITIONS.items():
            if narrow.type not in CONDITION_TYPES[word]:
                continue
            for part in wide.parts:
                if word in part and not any(self._same_condition(mine, part, group) for mine in narrow.parts):
                    raise Undecidable(f"{word} is compared only where nothing changed")

    def _same_condition(self, mine: Any, theirs: Any, group: tuple[str, ...]) -> bool:
        one, other = ({word: part[word] for word in group if word in part} for part in (mine, theirs))
        return self._same(one, other)


def _alike(narrow: Clause, wide: Clause) -> bool:
    """Whether a clause could fit into another by its type; whole multiples make a number an integer."""
    if fits_type(narrow.type, wide.type):
        return True
    if narrow.type == "number" and wide.type == "integer":
        values = narrow.values()
        return values is not None or any(isinstance(divisor, int) for divisor in shape.said(narrow, "multipleOf"))
    return False


def _pinned(clause: Clause, value: Any) -> Clause:
    """The clause with this one value as its only instance, in the words of the rules for its type."""
    pin: dict[str, Any] = {"const": value}
    if isinstance(value, str):
        pin |= {"minLength": len(value), "maxLength": len(value)}
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = int(value) if type_of(value) == "integer" else value
        pin |= {"minimum": number, "maximum": number, "multipleOf": number}
    return Clause(type_of(value), (*clause.parts, pin))


def _identities(clause: Clause) -> set[Hashable] | None:
    values = clause.values()
    return None if values is None else {identity(value) for value in values}


def _weight(gaps: list[Gap]) -> tuple[int, int]:
    """How far a clause is from fitting: what only concerns defaults weighs least."""
    defaults = (Kind.DEFAULT_REMOVED, Kind.DEFAULT_CHANGED)
    return sum(gap.kind not in defaults for gap in gaps), len(gaps)


def _type_gap(lost: list[Clause], mine: list[Clause], theirs: list[Clause], path: str, words: Words) -> Gap:
    kept = [clause for clause in mine if not any(clause is other for other in lost)]
    gone = " or ".join(dict.fromkeys(clause.type for clause in lost))
    if kept:
        return Gap(Kind.TYPE, path, words.lost(gone))
    wanted = " or ".join(dict.fromkeys(clause.type for clause in theirs))
    return Gap(Kind.TYPE, path, words.became(gone, wanted or "nothing at all"))


def _listing(values: list[Any]) -> str:
    shown = ", ".join(quoted(value) for value in values[:MAX_VALUES_NAMED])
    more = len(values) - MAX_VALUES_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
