"""What the uplink needs of others: who takes the jobs, and who is told how the session goes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from aisops_protocol.messages import Job, JobCancel, Welcome
from aisops_runner.jobs.stages import Holding


class Jobs(Protocol):
    """What takes the jobs: `jobs.executor.Executor` in the product."""

    def deliver(self, jobs: Iterable[Job]) -> None:
        """Jobs arrived."""
        ...

    def cancel(self, cancel: JobCancel) -> None:
        """Core wants a job stopped."""
        ...

    def confirm(self, job_id: str) -> None:
        """Core knows a held job as ours."""
        ...

    def resend(self, job_id: str, lease_id: bytes, attempt: int) -> None:
        """Core wants a kept result again."""
        ...

    async def resend_all(self) -> None:
        """Core went back to a backup: send the kept results again."""
        ...

    def leases(self) -> tuple[bytes, ...]:
        """Leases to renew."""
        ...

    @property
    def free_slots(self) -> int:
        """Jobs that could begin at once."""
        ...

    @property
    def draining(self) -> bool:
        """True once no new job is taken."""
        ...


class LinkObserver(Protocol):
    """Who is told how the session goes."""

    def opened(self, welcome: Welcome) -> None:
        """Core said Welcome."""
        ...

    def measured(self, rtt_s: float, skew_s: float) -> None:
        """A heartbeat came back."""
        ...


class HeldJobs(Jobs, Protocol):
    """What the pump needs of the executor: the jobs, and what of them a Hello names."""

    async def settle(self) -> None:
        """Wait until what has been received is stored."""
        ...

    async def held_jobs(self) -> Holding:
        """What the journal holds."""
        ...
