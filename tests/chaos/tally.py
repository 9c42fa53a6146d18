"""What a fault test counts, in Jepsen's words: attempted, acknowledged, lost, unexpected, recovered, duplicated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

TERMINAL = frozenset({"succeeded", "failed", "timed_out", "cancelled", "uncertain"})


@dataclass(frozen=True, slots=True)
class Counts:
    """The figures of one row. What is counted are jobs, or messages and rows where a fault is below jobs."""

    attempted: int = 0
    acknowledged: int = 0
    lost: int = 0
    unexpected: int = 0
    recovered: int = 0
    duplicated: int = 0
    uncertain: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def line(self) -> str:
        """One line for a person."""
        return " · ".join(f"{one.name} {getattr(self, one.name)}" for one in fields(self))


@dataclass
class Tally:
    """Compares what Core acknowledged and recorded with what the providers really did.

    Attributes:
        attempted: Keys of submissions.
        acknowledged: Those to which Core answered that it has them.
        jobs: Core's record at the end, by key.
        effects: How often a provider carried the effect out, by key.
        stored: How often Core's tables hold what there must be once (the job of a key, a line of its log), by key and
            what it is.
        unheard: Keys of jobs that wrote log lines which must have arrived and did not.
        repeated: Keys whose work was begun more than once, as a provider or the witness saw it.
        expected_ends: Ends other than success that the fault itself asks for (a cancellation), by key.
    """

    attempted: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    jobs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    stored: Counter[tuple[str, str]] = field(default_factory=Counter)
    unheard: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    expected_ends: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def lost(self) -> set[str]:
        """Acknowledged jobs without a terminal state, said to have succeeded without an effect, or not heard of."""
        endless = {key for key in self._read if self._state(key) not in TERMINAL}
        idle = {key for key in self._read if self._state(key) == "succeeded" and not self._has_effect(key)}
        return endless | idle | self.unheard

    @property
    def unread(self) -> set[str]:
        """Acknowledged jobs whose end nobody looked at, because the fault was stopped before that."""
        return self.acknowledged - self._read

    @property
    def _read(self) -> set[str]:
        return self.acknowledged & self.jobs.keys()

    @property
    def duplicated(self) -> set[str]:
        """Submissions whose effect happened more than once, or of which Core holds something twice."""
        done = {key for key, times in self.effects.items() if times > 1}
        return done | {key for (key, _), times in self.stored.items() if times > 1}

    @property
    def unexpected(self) -> set[str]:
        """Effects and rows nobody asked for, ends that nobody made, doubt about what could safely be repeated."""
        bad = {key for key in self._read if not self._may_end_so(key)}
        return bad | (set(self.effects) - self.attempted) | ({key for key, _ in self.stored} - self.attempted)

    @property
    def uncertain(self) -> set[str]:
        """Jobs whose outside effect Core declares unknown."""
        return {key for key in self.acknowledged if self._state(key) == "uncertain"}

    @property
    def recovered(self) -> set[str]:
        """Jobs whose work was begun more than once and that still ended well."""
        return {
            key
            for key in self.acknowledged
            if self._state(key) == "succeeded"
            and (
                key in self.repeated
                or self.jobs[key]["attempt"] > 1
                or (self.jobs[key].get("execution") or {}).get("calls", 1) > 1
            )
        }

    def counts(self) -> Counts:
        """The figures of the row."""
        names = ("attempted", "acknowledged", "lost", "unexpected", "recovered", "duplicated", "uncertain")
        return Counts(*(len(getattr(self, name)) for name in names))

    def line(self) -> str:
        """One line for a person."""
        return self.counts().line()

    def _state(self, key: str) -> str:
        return str(self.jobs.get(key, {}).get("state", "missing"))

    def _has_effect(self, key: str) -> bool:
        """A capability without a provider has its effect in its output alone, which the load has read."""
        return bool(self.effects[key]) or bool(self.jobs[key].get("witnessed"))

    def _may_end_so(self, key: str) -> bool:
        state = self._state(key)
        if state in self.expected_ends.get(key, ()):
            return True
        if state == "uncertain":
            return bool(self.jobs[key]["effect_class"] == "at_most_once")
        return state not in {"failed", "timed_out", "cancelled"}
