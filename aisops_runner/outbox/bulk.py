"""Many rows in few steps of SQLite.

`executemany` gives up and takes back the interpreter's lock for every row; beside a busy event loop that costs more
than the rows. One statement with many rows works without the lock from its first to its last.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

_SIZES = (128, 32, 8, 1)
"""Rows of one statement: few sizes, so that each statement is compiled once and kept."""


class Bulk:
    """A statement over many rows.

    Args:
        before: What stands before the rows: `INSERT INTO t (a, b)`.
        columns: Values of a row.
        after: What stands after the rows.
    """

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._statements = {size: f"{before} VALUES {', '.join([row] * size)} {after}" for size in _SIZES}

    def run(self, connection: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> int:
        """Run it over these rows, in order; returns how many rows of the table were changed."""
        changed, place = 0, 0
        for size in _SIZES:
            while len(rows) - place >= size:
                values = list(chain.from_iterable(rows[place : place + size]))
                changed += connection.execute(self._statements[size], values).rowcount
                place += size
        return changed
