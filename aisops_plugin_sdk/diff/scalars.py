"""Gaps between two clauses of numbers or of texts. Pure."""

from aisops_plugin_sdk.diff import shape
from aisops_plugin_sdk.diff.clauses import Clause
from aisops_plugin_sdk.diff.gaps import Gap, Kind, Words
from aisops_plugin_sdk.diff.shape import Bound, Number


def number_gaps(narrow: Clause, wide: Clause, path: str, words: Words) -> list[Gap]:
    """Compare limits and divisors."""
    found = []
    if not _reaches(shape.lower(narrow), _lower(wide, narrow.type), below=True):
        found.append(_range("the minimum", shape.lower(narrow), shape.lower(wide), path, words))
    if not _reaches(shape.upper(narrow), _upper(wide, narrow.type), below=False):
        found.append(_range("the maximum", shape.upper(narrow), shape.upper(wide), path, words))
    mine, theirs = shape.said(narrow, "multipleOf"), shape.said(wide, "multipleOf")
    if not all(_divides(divisor, mine, narrow) for divisor in theirs):
        change = words.changed("multipleOf", sorted(mine) or None, sorted(theirs) or None)
        found.append(Gap(Kind.RANGE, path, change))
    return found


def text_gaps(narrow: Clause, wide: Clause, path: str, words: Words) -> list[Gap]:
    """Compare lengths and patterns. Patterns are compared as texts: which texts they match is not worked out."""
    found = []
    shortest = shape.least(narrow, "minLength"), shape.least(wide, "minLength")
    if shortest[0] < shortest[1]:
        found.append(Gap(Kind.LENGTH, path, words.changed("minLength", *(length or None for length in shortest))))
    longest = shape.most(narrow, "maxLength"), shape.most(wide, "maxLength")
    if not at_most(*longest):
        found.append(Gap(Kind.LENGTH, path, words.changed("maxLength", *longest)))
    mine, theirs = shape.said(narrow, "pattern"), shape.said(wide, "pattern")
    if theirs <= mine:
        return found
    change = words.changed("the pattern", *(" and ".join(sorted(texts)) or None for texts in (mine, theirs)))
    if not mine:
        return [*found, Gap(Kind.PATTERN, path, change)]
    reason = f"{change}; whether both match the same texts cannot be worked out"
    return [*found, Gap(Kind.INCOMPARABLE, path, reason)]


def format_gaps(narrow: Clause, wide: Clause, path: str, words: Words) -> list[Gap]:
    """Compare formats as names: each is a rule of its own, and none lets through what another one does."""
    mine, theirs = shape.said(narrow, "format"), shape.said(wide, "format")
    if theirs <= mine:
        return []
    change = words.changed("the format", *(" and ".join(sorted(texts)) or None for texts in (mine, theirs)))
    return [Gap(Kind.FORMAT, path, change)]


def at_most(narrow: int | None, wide: int | None) -> bool:
    """Whether an upper limit keeps within another; None is no limit."""
    return wide is None or (narrow is not None and narrow <= wide)


def _reaches(narrow: Bound | None, wide: Bound | None, *, below: bool) -> bool:
    """Whether a limit of numbers keeps within another one."""
    if wide is None:
        return True
    if narrow is None:
        return False
    if narrow.value == wide.value:
        return narrow.open or not wide.open
    return (narrow.value > wide.value) is below


def _lower(wide: Clause, type_: str) -> Bound | None:
    """The wide limit as it holds for numbers of the narrow type."""
    return shape.lower(Clause(type_, wide.parts))


def _upper(wide: Clause, type_: str) -> Bound | None:
    return shape.upper(Clause(type_, wide.parts))


def _range(subject: str, narrow: Bound | None, wide: Bound | None, path: str, words: Words) -> Gap:
    return Gap(Kind.RANGE, path, words.changed(subject, _plain(narrow), _plain(wide)))


def _plain(bound: Bound | None) -> object:
    return None if bound is None else f"beyond {bound.value}" if bound.open else bound.value


def _divides(divisor: Number, mine: set[Number], narrow: Clause) -> bool:
    """Whether numbers of the narrow clause are all multiples. Fractions are compared as they stand."""
    if divisor in mine:
        return True
    if not isinstance(divisor, int):
        return False
    if narrow.type == "integer" and divisor == 1:
        return True
    return any(isinstance(number, int) and number % divisor == 0 for number in mine)
