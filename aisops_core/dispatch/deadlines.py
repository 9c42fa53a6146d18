"""Who must move a job next and by when, for every state: pure.

`LIMITS` has an entry for each state of the job's table. A state that is not an end has at least one limit, with an
owner, a moment, and the events that Core itself brings about when the moment has passed: so no job can stay for ever
where it is, whatever a Runner does. `upkeep` and `overruns` enforce them; `explain` tells them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from aisops_core.dispatch import lease
from aisops_core.dispatch.job import JobEvent, JobRecord, JobState
from aisops_core.dispatch.lease import LeaseTerms


class Owner(StrEnum):
    """Who has to do something before the job goes on."""

    CORE = "core"
    RUNNER = "runner"
    PERSON = "person"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Limit:
    """One moment at which Core itself acts on a job.

    Attributes:
        name: Stable, for programs.
        at: The moment (wall clock, ms) for a job of this state; None when it does not apply to this job now.
        then: What Core does to the job when the moment comes.
        may: Every event that `then` can give, for the check against the table of transitions.
        words: The reason, for people: completes "... because".
    """

    name: str
    at: Callable[[JobRecord, LeaseTerms], int | None]
    then: Callable[[JobRecord], JobEvent]
    may: frozenset[JobEvent]
    words: str


def _queue_end(job: JobRecord, _terms: LeaseTerms) -> int | None:
    return job.queue_expires_unix_ms


def _silence_end(job: JobRecord, terms: LeaseTerms) -> int | None:
    return None if job.lease_until_unix_ms is None else job.lease_until_unix_ms + terms.grace_ms


def _hold_end(job: JobRecord, _terms: LeaseTerms) -> int | None:
    return job.hold_until_unix_ms


_TAKEN_BACK: Final = frozenset({JobEvent.REQUEUE, JobEvent.DOUBT, JobEvent.CANCEL})
QUEUE: Final = Limit(
    "queue",
    _queue_end,
    lambda _job: JobEvent.TIME_OUT,
    frozenset({JobEvent.TIME_OUT}),
    "no Runner took it within its queue time",
)
SILENCE: Final = Limit("silence", _silence_end, lease.fate, _TAKEN_BACK, "nothing more is heard of its Runner")
HOLD: Final = Limit("hold", _hold_end, lease.fate, _TAKEN_BACK, "its Runner neither ends it nor lets it go")

OWNERS: Final[Mapping[JobState, Owner]] = MappingProxyType(
    {
        JobState.QUEUED: Owner.CORE,
        JobState.LEASED: Owner.RUNNER,
        JobState.RUNNING: Owner.RUNNER,
        JobState.SUCCEEDED: Owner.NOBODY,
        JobState.FAILED: Owner.NOBODY,
        JobState.TIMED_OUT: Owner.NOBODY,
        JobState.CANCELLED: Owner.NOBODY,
        JobState.UNCERTAIN: Owner.PERSON,
    }
)
LIMITS: Final[Mapping[JobState, tuple[Limit, ...]]] = MappingProxyType(
    {
        JobState.QUEUED: (QUEUE,),
        JobState.LEASED: (SILENCE, HOLD),
        JobState.RUNNING: (SILENCE, HOLD),
        JobState.SUCCEEDED: (),
        JobState.FAILED: (),
        JobState.TIMED_OUT: (),
        JobState.CANCELLED: (),
        JobState.UNCERTAIN: (),
    }
)


@dataclass(frozen=True, slots=True)
class Deadline:
    """The next moment at which Core acts on a job by itself: when (wall clock, ms), what it does, and why."""

    limit: str
    at_unix_ms: int
    event: JobEvent
    words: str


def next_deadline(job: JobRecord, terms: LeaseTerms) -> Deadline | None:
    """The nearest limit of the job's state; None once it has ended."""
    moments = [(limit.at(job, terms), limit) for limit in LIMITS[job.state]]
    due = [(at, limit) for at, limit in moments if at is not None]
    if not due:
        return None
    at, limit = min(due, key=lambda pair: pair[0])
    return Deadline(limit.name, at, limit.then(job), limit.words)
