"""Statements of the hot path: built with SQLAlchemy once, compiled once per dialect, run without its per-row work.

Only for statements whose parameters need no conversion (text, integers, octets, booleans, None).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.sql.dml import Delete, Insert, Update

Row: TypeAlias = tuple[Any, ...]


class HotStatement:
    """An INSERT, UPDATE or DELETE run for many rows at once.

    Args:
        statement: With a bind parameter for every name in `names`.
        names: The bind parameters in the order in which rows give them.
    """

    def __init__(self, statement: Insert | Update | Delete, names: Sequence[str]) -> None:
        self._statement = statement
        self._names = tuple(names)
        self._compiled: dict[str, tuple[str, Callable[[Row], Any]]] = {}

    def many(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Run for every row; returns how many rows were touched."""
        if not rows:
            return 0
        sql, arrange = self._compiled.get(connection.dialect.name) or self._compile(connection)
        return connection.exec_driver_sql(sql, [arrange(row) for row in rows]).rowcount

    def _compile(self, connection: Connection) -> tuple[str, Callable[[Row], Any]]:
        insert = isinstance(self._statement, Insert)
        compiled = self._statement.compile(
            dialect=connection.dialect, column_keys=list(self._names) if insert else None
        )
        positions = getattr(compiled, "positiontup", None)
        arrange: Callable[[Row], Any]
        if positions is None:
            arrange = self._named
        elif tuple(positions) == self._names:
            arrange = tuple
        else:
            arrange = _reorder([self._names.index(name) for name in positions])
        self._compiled[connection.dialect.name] = (str(compiled), arrange)
        return self._compiled[connection.dialect.name]

    def _named(self, row: Row) -> dict[str, Any]:
        return dict(zip(self._names, row, strict=True))


def _reorder(indexes: Sequence[int]) -> Callable[[Row], Any]:
    if len(indexes) == 1:
        return lambda row: (row[indexes[0]],)
    return itemgetter(*indexes)
