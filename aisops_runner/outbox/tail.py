"""The newest rows of the lane in memory, so that a connected Runner never reads back what it wrote. Pure.

Bounded by rows and octets: when the Runner falls behind, the oldest leave and are read from the file later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from aisops_runner.outbox.rows import Row


class Tail:
    """Consecutive rows up to the last one committed.

    Args:
        max_rows: Rows kept at most.
        max_bytes: Octets kept at most.
    """

    def __init__(self, max_rows: int = 8192, max_bytes: int = 16 * 1024 * 1024) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._rows: deque[Row] = deque()
        self._bytes = 0

    def extend(self, rows: Iterable[Row]) -> None:
        """Take up rows just committed; what does not follow the rows held replaces them."""
        for row in rows:
            if self._rows and self._rows[-1].seq + 1 != row.seq:
                self.clear()
            self._rows.append(row)
            self._bytes += row.cost
        while self._rows and (len(self._rows) > self._max_rows or self._bytes > self._max_bytes):
            self._drop_first()

    def forget(self, seq: int) -> None:
        """Let go of what is acknowledged."""
        while self._rows and self._rows[0].seq <= seq:
            self._drop_first()

    def clear(self) -> None:
        """Forget everything: rows that stood in the lane were changed."""
        self._rows.clear()
        self._bytes = 0

    def after(self, seq: int, count: int) -> list[Row] | None:
        """At most `count` rows above `seq`; None when the first of them is not held."""
        if not self._rows or self._rows[0].seq > seq + 1:
            return None
        start = seq + 1 - self._rows[0].seq
        return list(islice(self._rows, start, start + count))

    def _drop_first(self) -> None:
        self._bytes -= self._rows.popleft().cost
