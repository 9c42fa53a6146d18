"""Whether two sets of clauses certainly share no instance, by which a `oneOf` means the same as an `anyOf`. Pure."""

from itertools import combinations

from aisops_plugin_sdk.diff import shape
from aisops_plugin_sdk.diff.clauses import Clause, Reader, fits_type
from aisops_plugin_sdk.diff.gaps import Undecidable
from aisops_plugin_sdk.diff.same import identity

MAX_DEPTH = 3


def require(alternatives: list[list[Clause]], reader: Reader) -> None:
    """Refuse alternatives of a `oneOf` of which two might hold at once.

    Raises:
        Undecidable: nothing tells two of them apart, such as a required field with other values in each.
    """
    for one, other in combinations(alternatives, 2):
        if not _all_apart(one, other, reader, 0):
            raise Undecidable(
                "alternatives of a oneOf may hold at once; give each a required field with a value of its own"
            )


def _all_apart(ones: list[Clause], others: list[Clause], reader: Reader, depth: int) -> bool:
    return all(_apart(one, other, reader, depth) for one in ones for other in others)


def _apart(one: Clause, other: Clause, reader: Reader, depth: int) -> bool:
    if not (fits_type(one.type, other.type) or fits_type(other.type, one.type)):
        return True
    left, right = one.values(), other.values()
    if left is not None and right is not None:
        return not {identity(value) for value in left} & {identity(value) for value in right}
    if one.type in {"number", "integer"}:
        return _below(one, other) or _below(other, one)
    if one.type == "string":
        return _shorter(one, other) or _shorter(other, one)
    return one.type == "object" and depth < MAX_DEPTH and _fields_apart(one, other, reader, depth)


def _below(one: Clause, other: Clause) -> bool:
    """Every number of one is smaller than every number of the other."""
    top, bottom = shape.upper(one), shape.lower(other)
    if top is None or bottom is None:
        return False
    return top.value < bottom.value or (top.value == bottom.value and (top.open or bottom.open))


def _shorter(one: Clause, other: Clause) -> bool:
    longest = shape.most(one, "maxLength")
    return longest is not None and longest < shape.least(other, "minLength")


def _fields_apart(one: Clause, other: Clause, reader: Reader, depth: int) -> bool:
    """A field that one of them always has cannot be what both want."""
    return any(
        _all_apart(
            reader.clauses(shape.field_at_most(one, name)),
            reader.clauses(shape.field_at_most(other, name)),
            reader,
            depth + 1,
        )
        for name in sorted(shape.required(one) | shape.required(other))
    )
