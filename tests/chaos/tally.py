"""What a fault test counts, in Jepsen's words: attempted, acknowledged, lost, unexpected, recovered, duplicated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TERMINAL = frozenset({"succeeded", "failed", "timed_out", "cancelled", "uncertain"})


@dataclass
class Tally:
    """Compares what Core acknowledged and recorded with what the providers really did.

    `attempted` and `acknowledged` are keys of submissions; `jobs` maps a key to Core's record at the end; `effects`
    counts, per key, how often a provider carried the effect out; `recognised` counts messages that came a second time
    and that the idempotent provider knew.
    """

    attempted: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    jobs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    recognised: int = 0

    @property
    def lost(self) -> set[str]:
        """Acknowledged jobs without a terminal state, or said to have succeeded without an effect."""
        return {key for key in self.acknowledged if self._state(key) not in TERMINAL} | {
            key for key in self.acknowledged if self._state(key) == "succeeded" and not self.effects[key]
        }

    @property
    def duplicated(self) -> set[str]:
        """Submissions whose effect happened more than once."""
        return {key for key, times in self.effects.items() if times > 1}

    @property
    def unexpected(self) -> set[str]:
        """Effects nobody asked for, and jobs that ended as failed, timed out or cancelled though nobody made them."""
        bad = {key for key in self.acknowledged if self._state(key) in {"failed", "timed_out", "cancelled"}}
        return bad | (set(self.effects) - self.attempted)

    @property
    def uncertain(self) -> set[str]:
        """Jobs whose outside effect Core declares unknown."""
        return {key for key in self.acknowledged if self._state(key) == "uncertain"}

    @property
    def recovered(self) -> set[str]:
        """Jobs that needed more than one attempt or call and still ended well."""
        return {
            key
            for key in self.acknowledged
            if self._state(key) == "succeeded"
            and (self.jobs[key]["attempt"] > 1 or (self.jobs[key].get("execution") or {}).get("calls", 1) > 1)
        }

    def _state(self, key: str) -> str:
        return str(self.jobs.get(key, {}).get("state", "missing"))

    def line(self) -> str:
        """One line for a person."""
        counts: Iterable[tuple[str, int]] = (
            ("attempted", len(self.attempted)),
            ("acknowledged", len(self.acknowledged)),
            ("lost", len(self.lost)),
            ("unexpected", len(self.unexpected)),
            ("recovered", len(self.recovered)),
            ("duplicated", len(self.duplicated)),
            ("uncertain", len(self.uncertain)),
            ("second sendings recognised", self.recognised),
        )
        return " · ".join(f"{name} {count}" for name, count in counts)
