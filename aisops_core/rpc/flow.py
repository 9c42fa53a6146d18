"""How much Runners may have under way at Core: less while the database is slow, or much waits for it. Pure.

Each Runner may send so many messages ahead of our acknowledgement: its window. That bounds one stream, not thousands of
them, so together they have a budget of octets here, and commits a time they should not take. Beyond half of the one or
two seconds of the other every window is small (TIGHT); beyond the budget or ten seconds whoever delivers is asked to
pause as well (HALT). Only the durable lane is held back: it waits in the Runners' outboxes, and nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aisops_protocol.session import Window

_BACK: Final = 0.5
"""A pace is left again below this share of what it takes to get there, so that windows do not flap."""


class Pace(IntEnum):
    """How freely Runners may send."""

    FREE = 0
    TIGHT = 1
    HALT = 2


WIDE: Final = Window(256, 1024 * 1024)
"""What a Welcome gives."""
NARROW: Final = Window(32, 128 * 1024)


@dataclass(frozen=True, slots=True)
class FlowTerms:
    """What is too much.

    Attributes:
        budget_bytes: Delivered and not committed, of all streams together.
        slow_s: A commit that takes so long makes windows small.
        stuck_s: One that takes so long makes Runners pause.
        wide: The window while all is well.
        narrow: The window otherwise.
        pause_ms: How long a Runner is asked to pause; asked again when it delivers after that.
    """

    budget_bytes: int = 256 * 1024 * 1024
    slow_s: float = 2.0
    stuck_s: float = 10.0
    wide: Window = WIDE
    narrow: Window = NARROW
    pause_ms: int = 1000


class Flow:
    """Counts what all streams hold, and how long their commits take. Times are monotonic seconds.

    Args:
        terms: What is too much.
        changed: Told whenever `window` becomes another.

    Attributes:
        pace: How freely Runners may send.
        held_bytes: Delivered and not committed.
        slowdowns: How often the pace became slower.
    """

    def __init__(self, terms: FlowTerms, changed: Callable[[], None]) -> None:
        self._terms, self._changed = terms, changed
        self._begun: dict[object, float] = {}  # commits under way, oldest first
        self._took, self._ended = 0.0, 0.0
        self.pace, self.held_bytes, self.slowdowns = Pace.FREE, 0, 0

    @property
    def window(self) -> Window:
        """What a Runner may have unacknowledged."""
        return self._terms.wide if self.pace is Pace.FREE else self._terms.narrow

    @property
    def pause_ms(self) -> int:
        """How long whoever delivers now shall pause; 0: not at all."""
        return self._terms.pause_ms if self.pace is Pace.HALT else 0

    def hold(self, octets: int, now: float) -> None:
        """So much was delivered."""
        self.held_bytes += octets
        self.look(now)

    def let_go(self, octets: int, now: float) -> None:
        """So much is committed, or given up."""
        self.held_bytes -= octets
        self.look(now)

    def begin(self, owner: object, now: float) -> None:
        """A commit of this owner begins; it has one at a time."""
        self._begun[owner] = now

    def end(self, owner: object, now: float) -> None:
        """It is over, well or not."""
        began = self._begun.pop(owner, None)
        if began is not None:
            self._took, self._ended = max(now - began, self._took - (now - self._ended)), now

    def look(self, now: float) -> Pace:
        """Set the pace by how things are now."""
        pace = self._judge(now)
        if pace is not self.pace:
            before, window = self.pace, self.window
            self.pace = pace
            self.slowdowns += pace > before
            if self.window != window:
                self._changed()
        return pace

    def _judge(self, now: float) -> Pace:
        share, lag_s = self.held_bytes / self._terms.budget_bytes, self._lag_s(now)
        loads = {
            Pace.HALT: max(share, lag_s / self._terms.stuck_s),
            Pace.TIGHT: max(2 * share, lag_s / self._terms.slow_s),
        }
        for pace, load in loads.items():
            if load >= (_BACK if self.pace >= pace else 1.0):
                return pace
        return Pace.FREE

    def _lag_s(self, now: float) -> float:
        """How long a commit takes: the slowest so far, less and less with its age, or the oldest that is under way."""
        oldest = next(iter(self._begun.values()), now)
        return max(now - oldest, self._took - (now - self._ended))
