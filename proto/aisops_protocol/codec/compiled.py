"""Turns the rules of a message into one straight-line function a direction, as `dataclasses` does for `__init__`.

A rule may give its check as an expression (`Quick`), which then costs no call: reading a job takes two thirds of the
time. What does not pass the expression goes to the rule's own check, which converts it or says what is wrong. The
source is made of the names in `messages` and of the expressions in `fields`, of nothing that comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CHECKED", "Part", "Quick", "compile_reader", "compile_writer"]


@dataclass(frozen=True, slots=True)
class Quick:
    """An expression for the checked value: `{v}` stands for the value, `{check}` for the rule's check.

    `names` are the objects that it uses by other placeholders.
    """

    expression: str
    names: Mapping[str, object] = field(default_factory=dict)


CHECKED = Quick("{check}({v})")


@dataclass(frozen=True, slots=True)
class Part:
    """One field: its name, its check, how to make it quick, and whether its absence is told apart."""

    name: str
    check: Callable[[Any], Any]
    quick: Quick
    present: bool = False


def compile_reader(kind: type[Any], parts: Sequence[Part]) -> Callable[[Any], Any]:
    """A function from a parsed protobuf message to `kind`."""
    lines, names = _body(parts, source="wire", absent=True)
    lines.append(f"return kind({', '.join(f'v{place}' for place in range(len(parts)))})")
    return _made("wire", lines, {**names, "kind": kind})


def compile_writer(parts: Sequence[Part]) -> Callable[[Any], dict[str, Any]]:
    """A function from a message to the dict that the protobuf constructor takes."""
    lines, names = _body(parts, source="value", absent=False)
    lines.append(f"return {{{', '.join(f'{part.name!r}: v{place}' for place, part in enumerate(parts))}}}")
    return _made("value", lines, names)


def _body(parts: Sequence[Part], *, source: str, absent: bool) -> tuple[list[str], dict[str, object]]:
    lines: list[str] = []
    names: dict[str, object] = {}
    for place, part in enumerate(parts):
        known = {"check": part.check, **part.quick.names}
        names |= {f"{name}{place}": thing for name, thing in known.items()}
        value = part.quick.expression.format(v=f"v{place}", **{name: f"{name}{place}" for name in known})
        lines.append(f"v{place} = {source}.{part.name}")
        if absent and part.present:
            value = f"{value} if {source}.HasField({part.name!r}) else None"
        if value != f"v{place}":
            lines.append(f"v{place} = {value}")
    return lines, names


def _made(argument: str, lines: Sequence[str], names: dict[str, object]) -> Callable[[Any], Any]:
    source = f"def function({argument}):\n" + "".join(f"    {line}\n" for line in lines)
    exec(source, names)  # noqa: S102 - our own source, see above
    function: Callable[[Any], Any] = names["function"]  # type: ignore[assignment]
    return function
