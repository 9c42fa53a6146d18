"""The only place Core reads time from, so that tests can hold it still.

The wall clock of a machine may be set at any moment, even between two lines that reckon with it. So Core goes by one
that only runs, and takes over what the machine's shows at moments of its own (`look`), when it can allow for the
difference.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for people and for what outlives the process, one for measuring."""

    def unix_ms(self) -> int:
        """Wall clock: milliseconds since 1970-01-01 UTC. Jumps in `look` only."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment. Never jumps, means nothing to another process."""
        ...

    def look(self) -> int:
        """Take over the machine's wall clock; by how much it was set since the last look, milliseconds."""
        ...


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._ahead_ns = _ahead_ns()

    def unix_ms(self) -> int:
        """Wall clock: milliseconds since 1970-01-01 UTC, as it was at the last `look`, and the time since."""
        return (time.monotonic_ns() + self._ahead_ns) // 1_000_000

    def monotonic(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()

    def look(self) -> int:
        """Take over the machine's wall clock; by how much it was set since the last look, milliseconds."""
        before, self._ahead_ns = self._ahead_ns, _ahead_ns()
        return round((self._ahead_ns - before) / 1_000_000)


def _ahead_ns() -> int:
    """How far the wall clock is ahead of the monotonic one, which never jumps."""
    return time.time_ns() - time.monotonic_ns()
