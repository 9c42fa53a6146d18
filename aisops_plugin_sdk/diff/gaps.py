"""What a comparison of two schemas yields: gaps, each a way in which the narrow one lets more through. Pure.

The one question of this folder is whether every instance of a *narrow* schema is an instance of a *wide* one. For
inputs the old schema is the narrow one (what callers send today must be taken tomorrow), for outputs the new one (what
is answered tomorrow must be what readers expect today). A gap is a reason why not.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from aisops_plugin_sdk.diff.keywords import Term

MAX_STEPS = 200_000
MAX_DEPTH = 48
MAX_QUOTED = 60


class Kind(StrEnum):
    """What sort of gap it is; `rules.py` says what each means for inputs and for outputs."""

    REQUIRED = "required"
    REMOVED = "removed"
    ADDED = "added"
    CLOSED = "closed"
    TYPE = "type"
    VALUES = "values"
    RANGE = "range"
    LENGTH = "length"
    PATTERN = "pattern"
    FORMAT = "format"
    DEFAULT_REMOVED = "default_removed"
    DEFAULT_CHANGED = "default_changed"
    INCOMPARABLE = "incomparable"


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap: the JSON pointer into the instance (`*` for every element or further field), and what changed."""

    kind: Kind
    path: str
    change: str


class Undecidable(Exception):
    """At one place of a schema it cannot be said whether there is a gap. The text is the reason."""


class TooLarge(Exception):
    """The schemas take more steps than a comparison may have; nothing is said about any part of them."""


@dataclass(slots=True)
class Effort:
    """Counts the steps of one comparison, because a schema of a few lines can describe endless work."""

    left: int = MAX_STEPS

    def spend(self, steps: int = 1) -> None:
        """Take one step, or several.

        Raises:
            TooLarge: none is left.
        """
        self.left -= steps
        if self.left < 0:
            raise TooLarge(f"the comparison takes more than {MAX_STEPS} steps")


@dataclass(frozen=True, slots=True)
class Words:
    """Writes what changed in the order of time, whichever of the two schemas is the narrow one."""

    old_is_narrow: bool

    def changed(self, subject: str, narrow: object, wide: object) -> str:
        """`subject` had one value and has another; None reads as `not set`."""
        old, new = (narrow, wide) if self.old_is_narrow else (wide, narrow)
        return f"{subject} was {_shown(old)}, is now {_shown(new)}"

    def became(self, narrow: str, wide: str) -> str:
        """It was one thing and is another, both in words."""
        old, new = (narrow, wide) if self.old_is_narrow else (wide, narrow)
        return f"was {old}, is now {new}"

    def lost(self, what: str) -> str:
        """Only the narrow schema has `what`."""
        return f"no longer {what}" if self.old_is_narrow else f"now also {what}"


class Prover(Protocol):
    """What the rules for one type need from the proof they are part of."""

    words: Words
    with_defaults: bool

    def gaps(self, narrow: Term, wide: Term, path: str) -> list[Gap]:
        """Compare what stands one level deeper."""
        ...

    def drops_names(self) -> bool:
        """Whether a field that is named no more counts as removed although it would be let through."""
        ...


@dataclass(slots=True)
class Collected:
    """Gaps in the order they were found, each once."""

    found: dict[Gap, None] = field(default_factory=dict)

    def add(self, *gaps: Gap) -> None:
        """Keep those that are new."""
        self.found.update(dict.fromkeys(gaps))


def quoted(value: object) -> str:
    """Write a value of a vendor's schema as JSON, cut to one short piece that no terminal takes for a command."""
    text = json.dumps(value, ensure_ascii=False)
    text = "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text[: MAX_QUOTED + 1])
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"


def _shown(value: object) -> str:
    return "not set" if value is None else quoted(value)


def below(path: str, name: str | int) -> str:
    """Extend a JSON pointer (RFC 6901) by one name or index."""
    return f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}"
