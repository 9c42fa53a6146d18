"""How far the two clocks of a session are apart, as people see it: in order, a warning, an error. Pure.

Nothing is timed by it: no deadline crosses the wire, and both programs measure durations by clocks that are never set.
But times that are shown, and certificates that begin and end, are wrong where a clock is.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from aisops_protocol import limits

__all__ = ["ClockLevel", "SkewWatch"]

_CALM: Final = 0.8
"""A level is left again below this share of what it takes to reach it, so that it does not flap."""


class ClockLevel(IntEnum):
    """How bad the difference of two clocks is."""

    OK = 0
    WARNING = 1
    ERROR = 2


_REACHED: Final = {ClockLevel.ERROR: limits.SKEW_ERROR_S, ClockLevel.WARNING: limits.SKEW_WARNING_S}


class SkewWatch:
    """Turns measurements into a level. It changes only when two measurements in a row agree: one alone may be late.

    Attributes:
        level: The level now.
        skew_s: The newest measurement; None before the first.
    """

    __slots__ = ("_last", "level", "skew_s")

    def __init__(self, level: ClockLevel = ClockLevel.OK) -> None:
        self.level = self._last = level
        self.skew_s: float | None = None

    def observe(self, skew_s: float) -> bool:
        """Take a measurement, in seconds, of either sign; True when the level has changed by it."""
        self.skew_s = skew_s
        last, self._last = self._last, _judge(abs(skew_s), self.level)
        if self._last is self.level or last is not self._last:
            return False
        self.level = self._last
        return True


def _judge(apart_s: float, level: ClockLevel) -> ClockLevel:
    """The level of this difference, seen from where we stand."""
    for each, reached_s in _REACHED.items():
        if apart_s >= reached_s * (_CALM if level >= each else 1.0):
            return each
    return ClockLevel.OK
