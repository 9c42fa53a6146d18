"""When to dial again after a loss. Pure: chance is passed in."""

from __future__ import annotations

from collections.abc import Callable

from aisops_protocol.errors import Refusal
from aisops_runner.backoff import full_jitter_s
from aisops_runner.errors import UplinkLost

STABLE_S = 60.0
SLOW_RETRY_S = 60.0
SLOWEST_RETRY_S = 900.0
_SLOWEST = frozenset({Refusal.REVOKED, Refusal.BANNED})


class Schedule:
    """The waits of one Runner: full jitter below 1, 2, 4 … 60 seconds.

    A session of a minute forgets them; a shorter one halves them, so that a Core that restarts a few times in a row is
    found again within seconds, while one that only ever says Welcome and dies is still left in peace.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._attempt = 0

    def good(self) -> None:
        """A session ended in order."""
        self._attempt = 0

    def lost(self, lost: UplinkLost, lasted_s: float | None) -> float:
        """Seconds to wait after a loss.

        Args:
            lost: Why; a pause that Core asks for is kept, with jitter on top so that a fleet does not return in step.
            lasted_s: How long the session had been open; None when it never was.
        """
        if lasted_s is not None:
            self._attempt = 0 if lasted_s >= STABLE_S else self._attempt // 2
        delay_s = full_jitter_s(self._attempt, self._draw())
        self._attempt += 1
        if lost.permanent:
            floor_s = SLOWEST_RETRY_S if lost.reason in _SLOWEST else SLOW_RETRY_S
            return max(lost.retry_after_s, floor_s) * (1.0 + 0.2 * self._draw())
        return lost.retry_after_s + delay_s
