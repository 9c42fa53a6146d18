"""Every check of the kit: its id, what it means, where its rule stands, and what it needs of the runner's surroundings.

The modules in `checks` register themselves here when they are imported; `every` imports them all and gives the list
that the command, the documentation and the tests use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from importlib import import_module
from typing import Any, Final

from aisops_protocol.errors import Code

__all__ = ["Check", "Need", "Rule", "check", "every", "standing"]

PAGE: Final = "docs/protocol.md"
DEFAULT_LIMIT_S: Final = 60.0
MODULES: Final = (
    "greeting",
    "frames",
    "lane",
    "resuming",
    "sessions",
    "work",
    "crashes",
    "cancelling",
    "verdicts",
    "refusing",
    "liveness",
    "ending",
    "evolution",
    "sizes",
    "holding",
    "storm",
)

Script = Callable[[Any], Awaitable[str]]
"""Takes a `Ground`, which is not imported here: the scripts' modules need this one first."""


class Rule(StrEnum):
    """Sections of docs/protocol.md, by their headings."""

    STREAM = "One stream"
    SESSION = "A session"
    LANES = "From Runner to Core: two lanes"
    RESUMING = "Resuming"
    FROM_CORE = "From Core to Runner"
    JOB = "The life of a job"
    LIVENESS = "Liveness"
    SIZES = "Sizes"
    ENDING = "How a stream ends"
    CHANGE = "How the contract may change"


class Need(Enum):
    """What a check needs besides a runner that connects; where it is missing, the check is skipped and says so."""

    KILL = "the kit must start the runner itself (--runner), to kill and restart it"
    WORK = "the runner must offer the two capabilities of the effect protocol"
    OWN = "it leaves the runner waiting for a quarter of an hour: the kit must start one for it (--runner)"


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the contract, as it can be seen from outside.

    Attributes:
        id: Its name, `<subject>.<promise>`; never reused for another meaning.
        meaning: What a runner does that keeps the promise, in one line.
        rule: The section of docs/protocol.md that says so.
        script: Drives the runner; returns what was seen, raises `Unmet` or `Skipped`. None for a standing check,
            which judges every frame of every other check.
        needs: What it cannot do without.
        apart: It takes long, or leaves the runner in a long wait: made with a runner of its own where that can be.
        limit_s: Seconds after which it is given up.
        codes: For a standing check: the breaches it counts.
    """

    id: str
    meaning: str
    rule: Rule
    script: Script | None = None
    needs: frozenset[Need] = frozenset()
    apart: bool = False
    limit_s: float = DEFAULT_LIMIT_S
    codes: frozenset[str] = frozenset()

    @property
    def source(self) -> str:
        """Where the rule stands, for people."""
        return f"{PAGE}, “{self.rule}”"


_checks: dict[str, Check] = {}


def check(
    name: str, rule: Rule, *needs: Need, apart: bool = False, limit_s: float = DEFAULT_LIMIT_S
) -> Callable[[Script], Script]:
    """Register the decorated script as a check; its docstring is the meaning."""

    def register(script: Script) -> Script:
        meaning = (script.__doc__ or "").strip().removesuffix(".")
        own = apart or bool({Need.KILL, Need.OWN} & {*needs})
        _add(Check(name, meaning, rule, script, frozenset(needs), own, limit_s))
        return script

    return register


def standing(name: str, meaning: str, rule: Rule, *codes: Code | str) -> None:
    """Register a check that judges the frames of all others: it fails on any breach with one of these codes."""
    _add(Check(name, meaning, rule, codes=frozenset(str(code) for code in codes)))


def every() -> tuple[Check, ...]:
    """All checks, by subject in the order a session meets them."""
    for name in MODULES:
        import_module(f"aisops_protocol.conformance.checks.{name}")
    return tuple(_checks.values())


def _add(made: Check) -> None:
    if made.id in _checks:
        raise ValueError(f"two checks are called {made.id}")
    _checks[made.id] = made
