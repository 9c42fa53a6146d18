"""Whether two schemas say the same, references followed, annotations left out. Pure and without recursion."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from aisops_plugin_sdk.diff.keywords import ANNOTATIONS, LISTS, MAPS, SINGLES, UNORDERED, Schema

Resolve = Callable[[str], Schema]
_REF = "$ref"
Pair = tuple[Any, Any]


def same(one: Schema, other: Schema, resolve_one: Resolve, resolve_other: Resolve, step: Callable[[], None]) -> bool:
    """Tell whether two schemas are equal as written, except for annotations and the names of what is referred to.

    Pairs that were met are taken as equal while the rest is looked at, so schemas that refer to themselves end.
    `step` is called for each pair; what it raises ends the comparison.

    Raises:
        Undecidable: a reference leads to no schema.
    """
    pending: list[Pair] = [(one, other)]
    met: set[tuple[int, int]] = set()
    while pending:
        left, right = pending.pop()
        if (id(left), id(right)) in met:
            continue
        met.add((id(left), id(right)))
        step()
        if not isinstance(left, Mapping) or not isinstance(right, Mapping):
            if left is not right:
                return False
            continue
        deeper = _deeper(left, right, resolve_one, resolve_other)
        if deeper is None:
            return False
        pending.extend(deeper)
    return True


def _deeper(
    left: Mapping[str, Any], right: Mapping[str, Any], resolve_left: Resolve, resolve_right: Resolve
) -> list[Pair] | None:
    """Compare two schemas at their top, and list the pairs that must be the same below; None when they differ."""
    words = {key for key in left if key not in ANNOTATIONS}
    if words != {key for key in right if key not in ANNOTATIONS}:
        return None
    deeper: list[Pair] = []
    for word in words:
        pairs = _pairs(word, left[word], right[word], resolve_left, resolve_right)
        if pairs is None:
            return None
        deeper.extend(pairs)
    return deeper


def _pairs(word: str, left: Any, right: Any, resolve_left: Resolve, resolve_right: Resolve) -> list[Pair] | None:
    """List what must be the same below one keyword; None when the keyword itself differs."""
    if word == _REF:
        return [(resolve_left(left), resolve_right(right))]
    if word in MAPS:
        return [(left[name], right[name]) for name in left] if left.keys() == right.keys() else None
    if word in LISTS:
        return list(zip(left, right, strict=True)) if len(left) == len(right) else None
    if word in SINGLES:
        return [(left, right)]
    if word in UNORDERED and isinstance(left, list) and isinstance(right, list):
        return [] if sorted(left) == sorted(right) else None
    return [] if equal(left, right) else None


def equal(left: Any, right: Any) -> bool:
    """JSON equality of two values."""
    return identity(left) == identity(right)


def identity(value: Any) -> Hashable:
    """A key that two values share when JSON takes them for equal: 1 is 1.0, true is not 1."""
    if isinstance(value, bool | None):
        return ("word", value)
    if isinstance(value, list | tuple):
        return ("list", tuple(identity(item) for item in value))
    if isinstance(value, Mapping):
        return ("object", frozenset((key, identity(item)) for key, item in value.items()))
    return value if isinstance(value, Hashable) else ("other", repr(value))
