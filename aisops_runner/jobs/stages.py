"""Where a job stands at the Runner: the stages, and the record the execution machine keeps of each job. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from aisops_protocol.messages import HeldJob, Job, JobPhase
from aisops_runner.jobs.retry import StopReason


class Stage(Enum):
    """Where a job stands. `UNCONFIRMED`: found in the journal at start, and Core has not yet said that it is ours."""

    UNCONFIRMED = "unconfirmed"
    STORING = "storing"
    WAITING = "waiting"
    WARMING = "warming"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHING = "finishing"


FOLLOWS: Final[Mapping[Stage, Mapping[Stage, str]]] = MappingProxyType(
    {
        Stage.UNCONFIRMED: {
            Stage.WAITING: "Core knows it as ours",
            Stage.FINISHING: "cancelled, or was started when the Runner died",
        },
        Stage.STORING: {
            Stage.WAITING: "stored, no slot is free",
            Stage.STARTING: "a slot is free",
            Stage.FINISHING: "cancelled, or done before",
        },
        Stage.WAITING: {
            Stage.STARTING: "a slot is free",
            Stage.WARMING: "a slot is free, the sidecar is not ready",
            Stage.FINISHING: "cancelled, or out of time",
        },
        Stage.WARMING: {
            Stage.STARTING: "the sidecar is ready",
            Stage.FINISHING: "cancelled, or out of time",
        },
        Stage.STARTING: {
            Stage.RUNNING: "STARTED is on the disk",
            Stage.FINISHING: "cancelled",
        },
        Stage.RUNNING: {
            Stage.PAUSED: "to be called again",
            Stage.FINISHING: "the call ended",
        },
        Stage.PAUSED: {
            Stage.WAITING: "the pause is over",
            Stage.FINISHING: "cancelled",
        },
        Stage.FINISHING: {},
    }
)
"""What may follow what, and why. After FINISHING the result is on the disk and the job leaves memory."""

IN_SLOT: Final = frozenset({Stage.WARMING, Stage.STARTING, Stage.RUNNING})
"""Stages that take one of the Runner's slots."""


class Intake(Enum):
    """What the state of the disk allows (see `outbox.queue.Pressure`)."""

    OPEN = "open"
    NO_NEW_JOBS = "no_new_jobs"
    NO_STARTS = "no_starts"


@dataclass(frozen=True, slots=True)
class Held:
    """A job found in the journal at start: `phase` is how far it had got, `calls` how many calls were made."""

    job: Job
    phase: JobPhase
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Holding:
    """What a Hello names of the journal. `omitted` counts the jobs for which its list had no room."""

    jobs: tuple[HeldJob, ...] = ()
    omitted: int = 0


@dataclass(slots=True)
class Execution:
    """One job held. Times are monotonic seconds; `stop` says that it is to end, `killed` that its call was cut off.

    `again` is the job under a newer lease, which came while the one under this lease was being cancelled: it begins
    anew when that has ended. A cancellation counts for one lease.
    """

    job: Job
    lease_id: bytes
    attempt: int
    stage: Stage
    calls: int = 0
    began_at: float | None = None
    deadline: float | None = None
    wake_at: float | None = None
    start_by: float | None = None
    stop: StopReason | None = None
    killed: bool = False
    again: tuple[Job, Container[str]] | None = None
