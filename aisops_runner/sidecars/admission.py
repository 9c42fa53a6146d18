"""How many calls one sidecar gets at once, how many may wait for their turn, and whose calls are being made."""

from __future__ import annotations

import asyncio
from collections import Counter

from aisops_runner.adapters.calls import CallError

BUSY_RETRY_S = 1.0


class Admission:
    """A bounded number of slots with a bounded queue before them, first come first served.

    Args:
        name: The plugin, for messages.
        slots: Calls at once.
        queue_limit: Calls that may wait; more are refused.

    Attributes:
        waiting: Calls that wait for a slot now.
    """

    def __init__(self, name: str, *, slots: int, queue_limit: int) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(slots)
        self._queue_limit = queue_limit
        self._jobs: Counter[str] = Counter()
        self.waiting = 0

    @property
    def in_flight(self) -> int:
        """Calls being made now."""
        return self._jobs.total()

    @property
    def busy(self) -> bool:
        """Whether a call is being made or waits."""
        return bool(self._jobs) or self.waiting > 0

    def holds(self, job_id: str) -> bool:
        """Whether a call of this job is being made."""
        return job_id in self._jobs

    async def enter(self, job_id: str, timeout_s: float) -> CallError | None:
        """Take a slot, waiting at most `timeout_s` seconds; or say why there is none (`plugin_busy`, `timeout`)."""
        refusal = await self._take_slot(timeout_s)
        if refusal is None:
            self._jobs[job_id] += 1
        return refusal

    def leave(self, job_id: str) -> None:
        """Give the slot back."""
        self._jobs[job_id] -= 1
        if not self._jobs[job_id]:
            del self._jobs[job_id]
        self._slots.release()

    async def _take_slot(self, timeout_s: float) -> CallError | None:
        if not self._slots.locked():
            await self._slots.acquire()
            return None
        if self.waiting >= self._queue_limit:
            text = f"{self.waiting} calls already wait for {self._name}"
            return CallError("plugin_busy", text, retryable=True, retry_after_s=BUSY_RETRY_S)
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            return CallError("timeout", f"no free slot of {self._name} within {timeout_s:g} s", retryable=True)
        finally:
            self.waiting -= 1
        return None
