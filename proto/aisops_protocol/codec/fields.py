"""The engine of the codec: one rule per field, used in both directions, compiled into one function a message.

A `Shape` pairs one frozen dataclass of `messages` with one protobuf message; its rules stand in the order of the
dataclass. Reading turns a parsed protobuf message into the dataclass; writing turns the dataclass into nested dicts,
which the protobuf runtime takes in one call (three times faster than building message objects). Both check every
limit. This is the hot path of the product, so a rule is at most one function call per field (see `compiled`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from operator import attrgetter
from typing import Any, Generic, NoReturn, TypeVar

from aisops_protocol import limits
from aisops_protocol.codec.compiled import CHECKED, Part, Quick, compile_reader, compile_writer

__all__ = [
    "Invalid",
    "Rule",
    "Shape",
    "choice",
    "count",
    "each",
    "flag",
    "ident",
    "idents",
    "key",
    "many",
    "octets",
    "one",
    "optional",
    "pairs",
    "signed",
    "text",
    "token",
    "tokens",
]

T = TypeVar("T")
Check = Callable[[Any], Any]

_is_id = re.compile(limits.ID_PATTERN).fullmatch
_is_key = re.compile(rf"[!-~]{{1,{limits.EFFECT_KEY_CHARS}}}").fullmatch


class Invalid(ValueError):
    """A value breaks the rule of its field. `path` names the field from the outside in."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path = ""

    def under(self, name: str) -> Invalid:
        """This error as seen from the message around it."""
        self.path = f"{name}.{self.path}" if self.path and self.path[0] != "[" else f"{name}{self.path}"
        return self


@dataclass(frozen=True, slots=True)
class Rule:
    """One field: its name on both sides, and how its value is checked and converted in each direction.

    `present` marks a message field whose absence is told apart from its empty value. `reading` and `writing` are the
    same checks as expressions.
    """

    name: str
    read: Check
    write: Check
    present: bool = False
    reading: Quick = CHECKED
    writing: Quick = CHECKED


class Shape(Generic[T]):
    """How one dataclass and one protobuf message correspond."""

    __slots__ = (
        "_get",
        "_names",
        "_optional",
        "_read",
        "_reads",
        "_write",
        "_writes",
        "kind",
        "quick",
        "rules",
        "whole",
    )

    def __init__(self, kind: type[T], *rules: Rule, whole: Callable[[T], None] | None = None) -> None:
        """Compile the rules of `kind`; `whole` checks what several fields must fulfil together (raises `Invalid`)."""
        names = tuple(rule.name for rule in rules)
        if names != tuple(field.name for field in fields(kind)):  # type: ignore[arg-type]
            raise TypeError(f"the rules of {kind.__name__} are not its fields in order")
        self.kind = kind
        self.rules = rules
        self.whole = whole
        self._optional = tuple((index, rule.name) for index, rule in enumerate(rules) if rule.present)
        self._names = names
        self._get: Callable[[Any], tuple[Any, ...]] = (
            attrgetter(*names) if len(names) > 1 else _single(attrgetter(names[0]))
        )
        self._reads = tuple(rule.read for rule in rules)
        self._writes = tuple(rule.write for rule in rules)
        self._read = compile_reader(kind, [Part(one.name, one.read, one.reading, one.present) for one in rules])
        self._write = compile_writer([Part(one.name, one.write, one.writing) for one in rules])
        self.quick: Callable[[Any], T] = self._read if whole is None else self.read
        """As `read`, but its error may not name the field."""

    def read(self, wire: Any) -> T:
        """The dataclass for a parsed protobuf message.

        Raises:
            Invalid: a field breaks its limit; the error names it.
        """
        try:
            value: T = self._read(wire)
        except Invalid:
            raise self._named(self._reads, self._without_absent(wire, self._get(wire))) from None
        if self.whole is not None:
            self.whole(value)
        return value

    def write(self, value: T) -> dict[str, Any]:
        """The dataclass as the dict that the protobuf constructor takes.

        Raises:
            Invalid: a field breaks its limit; the error names it.
        """
        try:
            wire = self._write(value)
        except Invalid:
            raise self._named(self._writes, self._get(value)) from None
        if self.whole is not None:
            self.whole(value)
        return wire

    def _without_absent(self, wire: Any, values: Sequence[Any]) -> Sequence[Any]:
        absent = [index for index, name in self._optional if not wire.HasField(name)]
        if not absent:
            return values
        return [None if index in absent else value for index, value in enumerate(values)]

    def _named(self, checks: Sequence[Check], values: Sequence[Any]) -> Invalid:
        """What the first check that fails says (asked again: errors are rare, and the quick way names nothing)."""
        for name, check, value in zip(self._names, checks, values, strict=True):
            try:
                check(value)
            except Invalid as error:
                return error.under(name)
        raise AssertionError("a check failed once only")  # pragma: no cover - checks are pure


def _single(get: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda source: (get(source),)


def _refuse(why: str) -> NoReturn:
    raise Invalid(why)


# --- text -------------------------------------------------------------------------------------------------------------


def ident(name: str, *, optional: bool = False) -> Rule:
    """An id: 1..128 characters of [A-Za-z0-9._:-], or nothing when `optional`."""
    check = _check_optional_id if optional else _check_id
    return _both(name, check, "not {v} or {is_id}({v})" if optional else "{is_id}({v})", is_id=_is_id)


def _both(name: str, check: Check, passes: str, **names: object) -> Rule:
    """A rule that is the same in both directions; what `passes` needs no closer look."""
    quick = Quick(f"{{v}} if {passes} else {{check}}({{v}})", names)
    return Rule(name, check, check, reading=quick, writing=quick)


def _check_id(value: str) -> str:
    return value if _is_id(value) else _refuse("is not 1..128 characters of [A-Za-z0-9._:-]")


def _check_optional_id(value: str) -> str:
    return value if not value or _is_id(value) else _refuse("is not empty or 1..128 characters of [A-Za-z0-9._:-]")


def key(name: str) -> Rule:
    """An effect key: visible ASCII, fit for an HTTP header."""

    def check(value: str) -> str:
        return value if _is_key(value) else _refuse("is not 1..255 characters of visible ASCII")

    return _both(name, check, "{is_key}({v})", is_key=_is_key)


def text(name: str, most: int, *, least: int = 0) -> Rule:
    """UTF-8 text of `least`..`most` octets without NUL."""

    def check(value: str) -> str:
        if "\0" in value:
            _refuse("contains NUL")
        if not least <= _utf8_bytes(value) <= most:
            _refuse(f"is not {least}..{most} octets of UTF-8")
        return value

    return _both(name, check, f"{least} <= len({{v}}) <= {most} and {{v}}.isascii() and '\\0' not in {{v}}")


def _utf8_bytes(value: str) -> int:
    if value.isascii():
        return len(value)
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        _refuse("is not valid Unicode")


# --- octets -----------------------------------------------------------------------------------------------------------


def octets(name: str, most: int, *, least: int = 0) -> Rule:
    """`least`..`most` octets."""

    def check(value: bytes) -> bytes:
        return value if least <= len(value) <= most else _refuse(f"is not {least}..{most} octets")

    return _both(name, check, f"{least} <= len({{v}}) <= {most}")


def token(name: str, size: int = limits.TOKEN_BYTES, *, optional: bool = False) -> Rule:
    """Exactly `size` octets, or none when `optional`."""

    def check(value: bytes) -> bytes:
        if len(value) != size and (value or not optional):
            _refuse(f"is not {'empty or ' if optional else ''}exactly {size} octets")
        return value

    return _both(name, check, f"len({{v}}) == {size}" + (" or not {v}" if optional else ""))


# --- numbers ----------------------------------------------------------------------------------------------------------


def count(name: str, most: int, *, least: int = 0) -> Rule:
    """An integer in `least`..`most`."""

    def check(value: int) -> int:
        return value if least <= value <= most else _refuse(f"is not in {least}..{most}")

    return _both(name, check, f"{least} <= {{v}} <= {most}")


def signed(name: str, most: int) -> Rule:
    """An integer in -`most`..`most`."""
    return count(name, most, least=-most)


def flag(name: str) -> Rule:
    """A truth value."""
    return Rule(name, bool, bool, reading=Quick("{v}"))


def choice(name: str, kind: type[IntEnum]) -> Rule:
    """An enum. A number this version does not know reads as UNSPECIFIED (0)."""
    members = {int(member): member for member in kind}
    unspecified = members[0]

    def read(value: int) -> IntEnum:
        return members.get(value, unspecified)

    return Rule(
        name, read, kind, reading=Quick("{members}.get({v}, {other})", {"members": members, "other": unspecified})
    )


# --- composites -------------------------------------------------------------------------------------------------------


def one(name: str, shape: Shape[Any]) -> Rule:
    """A message that is always there (absent on the wire reads as all empty)."""
    return Rule(name, shape.read, shape.write, reading=Quick("{quick}({v})", {"quick": shape.quick}))


def optional(name: str, shape: Shape[Any]) -> Rule:
    """A message that may be absent: None."""

    def read(value: Any) -> Any:
        return None if value is None else shape.read(value)

    def write(value: Any) -> Any:
        return None if value is None else shape.write(value)

    return Rule(name, read, write, present=True)


def many(name: str, shape: Shape[Any], most: int) -> Rule:
    """A list of at most `most` messages."""
    return _listed(name, shape.read, shape.write, most)


def idents(name: str, most: int) -> Rule:
    """A list of at most `most` ids."""
    return _listed(name, _check_id, _check_id, most)


def tokens(name: str, most: int) -> Rule:
    """A list of at most `most` tokens."""
    rule = token(name)
    return _listed(name, rule.read, rule.write, most)


def _listed(name: str, read: Check, write: Check, most: int) -> Rule:
    def reads(items: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(each(read, items, most))

    def writes(items: Sequence[Any]) -> list[Any]:
        return each(write, items, most)

    return Rule(name, reads, writes, reading=_UNLESS_EMPTY, writing=_UNLESS_EMPTY)


_UNLESS_EMPTY = Quick("{check}({v}) if {v} else ()")


def each(check: Callable[[Any], T], items: Sequence[Any], most: int) -> list[T]:
    """Every item checked.

    Raises:
        Invalid: there are more than `most`, or one breaks its rule; the path begins with its position.
    """
    if len(items) > most:
        _refuse(f"has more than {most} entries")
    try:
        return [check(item) for item in items]
    except Invalid as error:
        raise error.under(f"[{_position(check, items)}]") from None


def _position(check: Check, items: Iterable[Any]) -> int:
    for index, item in enumerate(items):
        try:
            check(item)
        except Invalid:
            return index
    raise AssertionError("a check failed once only")  # pragma: no cover - checks are pure


_pair_key = text("key", limits.LABEL_BYTES, least=1).read
_pair_value = text("value", limits.LABEL_BYTES).read


def pairs(name: str, most: int) -> Rule:
    """A list of at most `most` (key, value) texts with distinct keys."""

    def checked(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return found if len({label for label, _ in found}) == len(found) else _refuse("names a key twice")

    def read(items: Sequence[Any]) -> tuple[tuple[str, str], ...]:
        return tuple(checked(each(lambda item: (_pair_key(item.key), _pair_value(item.value)), items, most)))

    def write(items: Sequence[tuple[str, str]]) -> list[Mapping[str, str]]:
        found = checked(each(lambda item: (_pair_key(item[0]), _pair_value(item[1])), items, most))
        return [{"key": label, "value": value} for label, value in found]

    return Rule(name, read, write, reading=_UNLESS_EMPTY, writing=_UNLESS_EMPTY)
