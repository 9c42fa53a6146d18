"""A mutant: SQLite is told synchronous=NORMAL whatever a program says. On a child's PYTHONPATH, Python loads it itself.

With it an answer may come before its write has reached the disk, and the test of power loss must find that out.
"""

from __future__ import annotations

import re
import sqlite3
import sqlite3.dbapi2
from functools import partial
from typing import Any

_FULL = re.compile(r"(PRAGMA\s+synchronous\s*=\s*)FULL", re.IGNORECASE)


class CarelessCursor(sqlite3.Cursor):
    """Executes everything but the promise."""

    def execute(self, sql: str, *parameters: Any) -> Any:
        """As asked, with less care."""
        return super().execute(_FULL.sub(r"\1NORMAL", sql), *parameters)


class CarelessConnection(sqlite3.Connection):
    """Executes everything but the promise."""

    def execute(self, sql: str, *parameters: Any) -> Any:
        """As asked, with less care."""
        return super().execute(_FULL.sub(r"\1NORMAL", sql), *parameters)

    def cursor(self, factory: Any = CarelessCursor) -> Any:
        """A careless cursor."""
        return super().cursor(factory)


sqlite3.connect = sqlite3.dbapi2.connect = partial(sqlite3.connect, factory=CarelessConnection)  # type: ignore[assignment]  # its overloads
