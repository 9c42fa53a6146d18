"""How many calls one sidecar gets at once, how many may wait for their turn, and whose calls are held. Pure.

First come, first served. Time is passed in as monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from aisops_runner.adapters.calls import Call, CallError, Ended

BUSY_RETRY_S = 1.0


@dataclass(eq=False, slots=True)
class Place:
    """One call held: it waits, or (once `give_up` is set) is being made.

    Attributes:
        call: What is wanted.
        until: When its time is up.
        ended: Whom to tell.
        give_up: Drops the call that is being made; None while it waits.
        gone: It was cut off, or its time was up: nobody waits for it any more.
    """

    call: Call
    until: float
    ended: Ended
    give_up: Callable[[], None] | None = None
    gone: bool = False


@dataclass(slots=True)
class Admission:
    """A bounded number of slots with a bounded queue before them.

    Attributes:
        name: The plugin, for messages.
        slots: Calls at once.
        queue_limit: Calls that may wait; more are refused.
        in_flight: Calls being made now.
        waiting: Calls that wait for a slot, or for the sidecar.
    """

    name: str
    slots: int
    queue_limit: int
    in_flight: int = 0
    waiting: int = 0
    _queue: deque[Place] = field(default_factory=deque)
    _by_job: dict[str, list[Place]] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Whether a call is being made or waits."""
        return bool(self._by_job)

    def holds(self, job_id: str) -> bool:
        """Whether a call of this job is being made or waits."""
        return job_id in self._by_job

    def enter(self, call: Call, until: float, ended: Ended) -> CallError | None:
        """Take a call in; or say why not (`plugin_busy`)."""
        if self.waiting >= self.slots - self.in_flight + self.queue_limit:
            text = f"{self.waiting} calls already wait for {self.name}"
            return CallError("plugin_busy", text, retryable=True, retry_after_s=BUSY_RETRY_S)
        place = Place(call, until, ended)
        self._queue.append(place)
        self.waiting += 1
        self._by_job.setdefault(call.job_id, []).append(place)
        return None

    def next_calls(self, most: int) -> list[Place]:
        """Take the calls whose turn it is, at most so many; their slots are taken now."""
        chosen: list[Place] = []
        most = min(most, self.slots - self.in_flight)
        while self._queue and len(chosen) < most:
            place = self._queue.popleft()
            if not place.gone:
                chosen.append(place)
        self.in_flight += len(chosen)
        self.waiting -= len(chosen)
        return chosen

    def turn_away(self, now: float | None = None) -> list[Place]:
        """Take the waiting calls whose time is up out of the queue; all of them when no time is given."""
        out = [place for place in self._queue if not place.gone and (now is None or place.until <= now)]
        for place in out:
            self._forget(place)
        self.waiting -= len(out)
        self._queue = deque(place for place in self._queue if not place.gone)
        return out

    def next_deadline(self) -> float | None:
        """When the time of a waiting call is up next; None when none waits."""
        return min((place.until for place in self._queue if not place.gone), default=None)

    def leave(self, place: Place) -> None:
        """A call that was being made has ended: its slot is free."""
        self.in_flight -= 1
        self._forget(place)

    def cut(self, job_id: str) -> list[Place]:
        """Let go of a job's calls; the slots of those being made are free."""
        held = list(self._by_job.get(job_id, ()))
        for place in held:
            if place.give_up is None:
                self.waiting -= 1
            else:
                self.in_flight -= 1
            self._forget(place)
        return held

    def _forget(self, place: Place) -> None:
        place.gone = True
        held = self._by_job.get(place.call.job_id)
        if held is not None and place in held:
            held.remove(place)
            if not held:
                del self._by_job[place.call.job_id]
