"""Statements of the hot path: built with SQLAlchemy once, compiled once per dialect, run without its per-row work.

Only for statements whose parameters need no conversion (text, integers, bytes, booleans).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.dml import Insert, Update


class HotStatement:
    """An INSERT or UPDATE run for many rows at once; parameters go by their bind names."""

    def __init__(self, statement: Insert | Update, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, tuple[str, tuple[str, ...] | None]] = {}

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run for every row; returns how many rows were touched (as far as the driver tells)."""
        if not rows:
            return 0
        sql, order = self._for(connection)
        if order is None:
            return connection.exec_driver_sql(sql, [dict(row) for row in rows]).rowcount
        return connection.exec_driver_sql(sql, [tuple([row[name] for name in order]) for row in rows]).rowcount

    def _for(self, connection: Connection) -> tuple[str, tuple[str, ...] | None]:
        found = self._compiled.get(connection.dialect.name)
        if found is None:
            compiled = self._statement.compile(
                dialect=connection.dialect, column_keys=None if self._columns is None else list(self._columns)
            )
            positions = getattr(compiled, "positiontup", None)
            found = (str(compiled), None if positions is None else tuple(positions))
            self._compiled[connection.dialect.name] = found
        return found
