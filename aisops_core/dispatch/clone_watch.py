"""When a clone that was refused is put on record: at once, then ever more rarely for as long as it keeps calling. Pure.

A clone calls again every minute, and one that is not our program as often as it likes. What people need is the first
word, and now and then that it is not over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

FIRST_PAUSE_S: Final = 600.0
LONGEST_PAUSE_S: Final = 6 * 3600.0
OVER_S: Final = 3600.0
"""Not heard of for so long, a clone is gone; the next call is news."""
RunnerKey: TypeAlias = tuple[str, str]
"""Tenant and Runner."""


@dataclass(slots=True)
class _Calls:
    """Calls in a Runner's name that were refused. Times are seconds; `untold` are those not on record yet."""

    last: float
    due: float
    pause_s: float = FIRST_PAUSE_S
    untold: int = 0


class CloneWatch:
    """Counts what is refused, and says when to tell of it. Takes monotonic time; forgets what is over by itself."""

    def __init__(self) -> None:
        self._calls: dict[RunnerKey, _Calls] = {}  # those that called longest ago come first

    def __len__(self) -> int:
        return len(self._calls)

    def refused(self, runner: RunnerKey, now: float) -> int:
        """A call in this Runner's name was refused.

        Returns:
            How many such calls are to be put on record now, this one included; 0: none yet.
        """
        self._forget(now)
        calls = self._calls.pop(runner, None) or _Calls(now, due=now)
        self._calls[runner] = calls
        calls.last = now
        calls.untold += 1
        if now < calls.due:
            return 0
        calls.due, calls.pause_s = now + calls.pause_s, min(2 * calls.pause_s, LONGEST_PAUSE_S)
        told, calls.untold = calls.untold, 0
        return told

    def not_told(self, runner: RunnerKey, count: int) -> None:
        """So many could not be put on record after all: the next call tells of them too."""
        calls = self._calls.get(runner)
        if calls is not None:
            calls.untold += count
            calls.due, calls.pause_s = calls.last, max(FIRST_PAUSE_S, calls.pause_s / 2)

    def _forget(self, now: float) -> None:
        while self._calls:
            runner, calls = next(iter(self._calls.items()))
            if now - calls.last < OVER_S:
                return
            del self._calls[runner]
