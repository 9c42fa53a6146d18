"""How many calls one sidecar gets at once, and how many may wait for their turn."""

from __future__ import annotations

import asyncio

from aisops_runner.adapters.calls import CallError

BUSY_RETRY_S = 1.0


class Admission:
    """A bounded number of slots with a bounded queue before them, first come first served.

    Args:
        name: The plugin, for messages.
        slots: Calls at once.
        queue_limit: Calls that may wait; more are refused.
    """

    def __init__(self, name: str, *, slots: int, queue_limit: int) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(slots)
        self._queue_limit = queue_limit
        self.waiting = 0

    async def enter(self, timeout_s: float) -> CallError | None:
        """Take a slot, waiting at most `timeout_s` seconds; or say why there is none (`plugin_busy`, `timeout`)."""
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

    def leave(self) -> None:
        """Give the slot back."""
        self._slots.release()
