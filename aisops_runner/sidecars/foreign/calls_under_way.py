"""The calls that one plugin has under way: each ends once, by its answer, its time, or its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aisops_runner.adapters.calls import Call, CallError
from aisops_runner.sidecars.replies import Ended


@dataclass(frozen=True, slots=True)
class _Held:
    call: Call
    ended: Ended
    timer: asyncio.TimerHandle


class CallsUnderWay:
    """Calls by the id of their request."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._held: dict[str, _Held] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, identity: str, call: Call, ended: Ended, *, timeout_s: float, late: Callable[[], None]) -> None:
        """A request has left. When its time is up, `late` is called, which has to end it."""
        self._held[identity] = _Held(call, ended, self._loop.call_later(timeout_s, late))
        self._empty.clear()

    def end(self, identity: str, result: bytes | CallError) -> None:
        """Tell what came of a call; nothing happens when it was ended or given up before."""
        held = self.give_up(identity)
        if held is not None:
            held.ended([(held.call, result)])

    def give_up(self, identity: str) -> _Held | None:
        """Nobody waits for it any more."""
        held = self._held.pop(identity, None)
        if held is not None:
            held.timer.cancel()
        if not self._held:
            self._empty.set()
        return held

    def end_all(self, error: CallError) -> None:
        """End every call in the same way."""
        for identity in list(self._held):
            self.end(identity, error)

    async def drained(self, timeout_s: float) -> None:
        """Wait until no call is under way, at most so many seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return
