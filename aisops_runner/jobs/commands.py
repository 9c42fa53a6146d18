"""What the execution machine asks of its driver. Pure data."""

from __future__ import annotations

from typing import TypeAlias

from aisops_protocol.messages import CancelPhase, Job, RejectReason
from aisops_protocol.records import record
from aisops_runner.adapters.calls import Outcome
from aisops_runner.jobs.retry import Ended


@record
class Accept:
    """Store the job and its JobAccept together, then report `stored`.

    `started` stores it as STARTED at once, because a slot is free: one wait for the disk instead of two. When the
    journal already knows the job as done, nothing is stored but its result, to be sent again under this lease.
    """

    job: Job
    started: bool


@record
class Adopt:
    """Store the newest lease of a job already held, with another JobAccept."""

    job_id: str
    lease_id: bytes
    attempt: int


@record
class Reject:
    """Store a JobReject; when the journal knows the job as done, its result goes instead."""

    job: Job
    reason: RejectReason
    message: str


@record
class Start:
    """Store STARTED, then report `stored`: only then may the call leave."""

    job_id: str
    calls: int


@record
class StepBack:
    """Store that no call of the job is under way any more (it waits before the next)."""

    job_id: str
    calls: int


@record
class Finish:
    """Store the result and DONE together, then report `finished`."""

    job_id: str
    lease_id: bytes
    attempt: int
    ended: Ended
    outcome: Outcome | None
    calls: int
    duration_s: float


@record
class Resend:
    """Store the kept result of a finished job again, under a new lease."""

    job_id: str
    lease_id: bytes
    attempt: int


@record
class SayCancel:
    """Store a CancelState. REMEMBERED turns into TOO_LATE when the journal knows the job as done."""

    job_id: str
    lease_id: bytes
    phase: CancelPhase


@record
class Invoke:
    """Make a call, then report `ended`. STARTED is on the disk."""

    job: Job
    attempt: int
    timeout_s: float


@record
class Warm:
    """Get the capability ready for a call, then report `warmed`. Nothing leaves; STARTED is not on the disk yet."""

    job_id: str
    capability: str


@record
class Stop:
    """End a running call: ask its adapter, or (`kill`) cut it off. Its `ended` is still awaited."""

    job_id: str
    kill: bool


Stored: TypeAlias = Accept | Adopt | Reject | Start | StepBack | Finish | Resend | SayCancel
Command: TypeAlias = Stored | Invoke | Warm | Stop
