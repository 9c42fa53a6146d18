"""How long Core keeps what is over: the terms, and which rows they are about. Pure.

A job goes by the time it ended. Log lines and Runners' events go by the time Core received them, which their rows do
not tell (they carry the Runner's clock): marks, noted now and then, say which number had been given by when.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aisops_core.dispatch.job import JobState

MARKS: Final = 500
"""So many marks are spread over the longest term: things are kept up to a five-hundredth longer than asked."""


@dataclass(frozen=True, slots=True)
class RetentionTerms:
    """How long things are kept, in seconds.

    Attributes:
        jobs_s: An ended job with its input, output, timeline, late results and log lines, from its end.
        uncertain_s: The same for an uncertain job that nobody has resolved.
        logs_s: Log lines, from when they came, whether their job is kept or not.
        events_s: Events of Runners.
    """

    jobs_s: float = 30 * 86_400.0
    uncertain_s: float = 365 * 86_400.0
    logs_s: float = 7 * 86_400.0
    events_s: float = 30 * 86_400.0

    def cutoff_ms(self, state: JobState, now_ms: int) -> int:
        """A job of this state that ended before this moment goes."""
        kept_s = self.uncertain_s if state is JobState.UNCERTAIN else self.jobs_s
        return now_ms - round(kept_s * 1000)

    def earliest_cutoff_ms(self, now_ms: int) -> int:
        """Nothing created since this moment can be due."""
        return now_ms - round(min(self.jobs_s, self.uncertain_s) * 1000)

    @property
    def marks_every_ms(self) -> int:
        """The distance of two marks."""
        return max(1_000, round(max(self.logs_s, self.events_s) * 1000 / MARKS))


@dataclass(frozen=True, slots=True)
class Mark:
    """The highest numbers of log lines and events that existed at a moment (wall clock, ms)."""

    at_unix_ms: int
    log_id: int
    event_id: int


def due(marks: Sequence[Mark], terms: RetentionTerms, now_ms: int) -> bool:
    """Whether another mark is to be noted (also when the clock was set back)."""
    return not marks or not 0 <= now_ms - marks[-1].at_unix_ms < terms.marks_every_ms


def with_mark(marks: Sequence[Mark], mark: Mark, terms: RetentionTerms) -> list[Mark]:
    """The marks with a new one; those that no term needs any more are left out."""
    kept = [one for one in marks if one.at_unix_ms <= mark.at_unix_ms]
    oldest_ms = mark.at_unix_ms - round(max(terms.logs_s, terms.events_s) * 1000)
    needed = next((at for at in reversed(range(len(kept))) if kept[at].at_unix_ms <= oldest_ms), 0)
    return [*kept[needed:], mark]


def reached(marks: Sequence[Mark], kept_s: float, now_ms: int) -> Mark:
    """The newest mark that is older than the term: what it names may go. Zeroes when there is none."""
    cutoff_ms = now_ms - round(kept_s * 1000)
    return next((mark for mark in reversed(marks) if mark.at_unix_ms <= cutoff_ms), Mark(0, 0, 0))


def pack(marks: Sequence[Mark]) -> bytes:
    """Marks as they are stored."""
    return json.dumps([[mark.at_unix_ms, mark.log_id, mark.event_id] for mark in marks]).encode()


def unpack(stored: bytes) -> list[Mark]:
    """Marks from how they are stored."""
    return [Mark(*numbers) for numbers in json.loads(stored)] if stored else []
