"""The Runner's two clocks, passed in wherever time matters so that tests own time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where drivers read time. Rules never read a clock; they are given its value."""

    def monotonic(self) -> float:
        """Seconds that never go back; comparable within this process only."""
        ...

    def unix_ms(self) -> int:
        """Wall clock in milliseconds since 1970, for people and for signatures."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def unix_ms(self) -> int:
        """Wall clock in milliseconds since 1970."""
        return time.time_ns() // 1_000_000
