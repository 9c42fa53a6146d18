"""One run of a plugin: whatever serves its calls, and the way to call it. What the kinds of plugins have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aisops_runner.adapters.calls import Call
from aisops_runner.sidecars.replies import BatchReply, Ended


class Process(Protocol):
    """What runs: a process of this Runner, or something elsewhere that only answers."""

    @property
    def pid(self) -> int:
        """Process id; 0 for one that is not ours."""
        ...

    @property
    def exited(self) -> asyncio.Future[int]:
        """Resolves when it ends; never for one that is not ours."""
        ...

    def exit_reason(self) -> str:
        """One line for people about an exit that nobody asked for."""
        ...

    async def wait_exit(self, timeout_s: float) -> None:
        """Wait for the exit at most so many seconds."""
        ...

    def tell_dropped(self) -> None:
        """Log how many log lines were dropped since it was last told."""
        ...

    async def stop(self, shutdown: Callable[[], Awaitable[bool]], *, drain_s: float) -> None:
        """End it in order."""
        ...

    async def kill(self) -> None:
        """End it at once, and clear away."""
        ...


class Client(Protocol):
    """The way to call it; every call begun ends once, whatever becomes of the process."""

    def start(self, call: Call, timeout_s: float, ended: Ended) -> Callable[[], None]:
        """Run one call; returns at once with what gives it up."""
        ...

    def start_batch(self, calls: Sequence[tuple[Call, float]], ended: Ended) -> BatchReply:
        """Run calls in one request; only of those whose manifest has the feature."""
        ...

    async def healthy(self) -> bool:
        """Whether it answers."""
        ...

    async def readiness(self) -> str:
        """Why it cannot serve its provider now; empty when it can, or does not say."""
        ...

    async def cancel(self, job_id: str) -> None:
        """Ask a job's call to stop; best effort."""
        ...

    async def shutdown(self, drain_s: float) -> bool:
        """Let the calls in flight end, for at most so many seconds; whether it will then exit by itself."""
        ...

    async def close(self) -> None:
        """End every call in flight at once."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a sidecar: its process, and the way to call it."""

    process: Process
    client: Client

    async def bury(self) -> None:
        """Clear away an ended or hopeless run. Closing the client ends its calls in flight, each once."""
        await self.client.close()
        await self.process.kill()
