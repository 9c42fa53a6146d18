"""When a sidecar may run, and when it is tried again. Pure: time and chance are passed in.

A single crash restarts within a second. Further failures wait 1, 2, 4… 300 s with full jitter. The third failure inside
an hour quarantines the plugin: its jobs fail fast and visibly, and after five minutes one probing start is allowed
(half-open). Ten healthy minutes forget everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from aisops_runner.backoff import full_jitter_s


class State(StrEnum):
    """Where a plugin stands."""

    INSTALLED = "installed"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    DRAINING = "draining"
    STOPPED = "stopped"
    BACKOFF = "backoff"
    QUARANTINED = "quarantined"
    INCOMPATIBLE = "incompatible"
    BROKEN = "broken"
    DISABLED = "disabled"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.INSTALLED: frozenset({State.STARTING, State.STOPPED}),
    State.STOPPED: frozenset({State.STARTING}),
    State.BACKOFF: frozenset({State.STARTING, State.STOPPED}),
    State.QUARANTINED: frozenset({State.STARTING, State.STOPPED}),
    State.STARTING: frozenset(
        {State.READY, State.DEGRADED, State.BACKOFF, State.QUARANTINED, State.DRAINING, State.INCOMPATIBLE}
    ),
    State.READY: frozenset({State.DEGRADED, State.BACKOFF, State.QUARANTINED, State.DRAINING}),
    State.DEGRADED: frozenset({State.READY, State.BACKOFF, State.QUARANTINED, State.DRAINING}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.INCOMPATIBLE: frozenset(),
    State.BROKEN: frozenset(),
    State.DISABLED: frozenset(),
}
"""What may follow what; the last three are never left: that plugin is not started."""


class IllegalTransition(Exception):
    """The driver asked for a change the table does not have: a bug, not an operating condition."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """The numbers; durations in seconds."""

    first_s: float = 1.0
    cap_s: float = 300.0
    healthy_s: float = 600.0
    failures: int = 3
    window_s: float = 3600.0
    half_open_s: float = 300.0


@dataclass(slots=True)
class Lifecycle:
    """One sidecar's state and its history of failures. Every `now` is monotonic seconds."""

    policy: RestartPolicy = field(default_factory=RestartPolicy)
    state: State = State.INSTALLED
    reason: str = ""
    restarts: int = 0
    retry_at: float = 0.0
    _failures: list[float] = field(default_factory=list)
    _running_since: float | None = None

    def may_start(self, now: float) -> bool:
        """Whether a start is allowed now; in back-off and quarantine only once the wait is over."""
        if self.state in (State.BACKOFF, State.QUARANTINED):
            return now >= self.retry_at
        return self.state in (State.INSTALLED, State.STOPPED)

    def wait_s(self, now: float) -> float:
        """Seconds until a start is allowed; 0 when it is."""
        if self.state in (State.BACKOFF, State.QUARANTINED):
            return max(0.0, self.retry_at - now)
        return 0.0

    def starting(self, now: float) -> None:
        """A process is being started.

        Raises:
            IllegalTransition: It may not be started now.
        """
        if not self.may_start(now):
            raise IllegalTransition(f"{self.state} may not start for another {self.wait_s(now):g} s")
        self._move(State.STARTING)

    def ready(self, now: float, problem: str = "") -> None:
        """The process serves; with a `problem` it does so degraded (not configured, provider unreachable)."""
        if self._running_since is None:
            self._running_since = now
        target = State.DEGRADED if problem else State.READY
        if self.state is not target:
            self._move(target)
        self.reason = problem

    def draining(self) -> None:
        """It was told to stop."""
        self._move(State.DRAINING)

    def stopped(self, now: float, reason: str = "") -> None:
        """It ended because it was told to."""
        self._settle(now)
        self._move(State.STOPPED)
        self.reason = reason

    def incompatible(self, reason: str) -> None:
        """It speaks no contract that we do; it is not started again until it or the Runner changes."""
        self._move(State.INCOMPATIBLE)
        self.reason = reason

    def failed(self, now: float, draw: float, reason: str) -> None:
        """It ended, or did not start, on its own account: decide when it is tried again.

        Args:
            now: Monotonic seconds.
            draw: Random number in [0, 1) for the jitter.
            reason: One line for people.
        """
        self._settle(now)
        self._failures = [at for at in self._failures if now - at < self.policy.window_s]
        self._failures.append(now)
        self.restarts += 1
        self.reason = reason
        if len(self._failures) >= self.policy.failures:
            self.retry_at = now + self.policy.half_open_s
            self._move(State.QUARANTINED)
            return
        wait = full_jitter_s(len(self._failures) - 1, draw, first_s=self.policy.first_s, cap_s=self.policy.cap_s)
        self.retry_at = now + wait
        self._move(State.BACKOFF)

    def release(self, now: float) -> None:
        """The operator lifts a quarantine: the history is forgotten and a start is allowed at once."""
        self._failures.clear()
        self.retry_at = now

    def _settle(self, now: float) -> None:
        """A run that was healthy for long enough forgives the failures before it."""
        if self._running_since is not None and now - self._running_since >= self.policy.healthy_s:
            self._failures.clear()
        self._running_since = None

    def _move(self, target: State) -> None:
        if target not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"{self.state} does not become {target}")
        self.state = target
