"""When each job wants to be looked at next. Pure: time is passed in as monotonic seconds.

A timer lies in a heap; setting a job's timer again, or the job's end, leaves the old one there to be passed over. Those
are cleared away before they outnumber the rest: with long timeouts they would pile up by the hundred thousand.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from aisops_runner.jobs.stages import Execution

SPARE = 1024


class Timers:
    """The timers of jobs.

    Args:
        live: The jobs held; a timer counts while it is its job's `wake_at`.
    """

    def __init__(self, live: Mapping[str, Execution]) -> None:
        self._live = live
        self._heap: list[tuple[float, int, str]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, execution: Execution, at: float) -> None:
        """Set a job's only timer."""
        execution.wake_at = at
        self._order += 1
        heapq.heappush(self._heap, (at, self._order, execution.job.job_id))
        if len(self._heap) > SPARE + 2 * len(self._live):
            self._heap = [timer for timer in self._heap if self._armed(timer) is not None]
            heapq.heapify(self._heap)

    def due(self, now: float) -> list[Execution]:
        """Take the jobs whose timer has come, in its order."""
        found: list[Execution] = []
        while self._heap and self._heap[0][0] <= now:
            execution = self._armed(heapq.heappop(self._heap))
            if execution is not None:
                execution.wake_at = None
                found.append(execution)
        return found

    def next(self) -> float | None:
        """When the next timer comes; None when there is none."""
        while self._heap:
            if self._armed(self._heap[0]) is not None:
                return self._heap[0][0]
            heapq.heappop(self._heap)
        return None

    def _armed(self, timer: tuple[float, int, str]) -> Execution | None:
        execution = self._live.get(timer[2])
        return execution if execution is not None and execution.wake_at == timer[0] else None
