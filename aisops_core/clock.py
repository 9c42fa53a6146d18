"""The only place Core reads time from, so that tests can hold it still."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for people and for what outlives the process, one for measuring."""

    def unix_ms(self) -> int:
        """Wall clock: milliseconds since 1970-01-01 UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment. Never jumps, means nothing to another process."""
        ...


class SystemClock:
    """The machine's clocks."""

    def unix_ms(self) -> int:
        """Wall clock: milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()
