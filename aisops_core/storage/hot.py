"""Statements of the hot path: built with SQLAlchemy once, compiled once per dialect, run by the driver itself.

Running one through SQLAlchemy costs a tenth of a millisecond, more than most of them take. What it would do besides
is done here: a transaction begins with the first statement, and the driver's errors become its own kinds.

Only for statements whose parameters and columns need no conversion (text, integers, octets, None). Booleans come back
as the driver gives them; whoever reads them makes them `bool`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final, TypeAlias

from sqlalchemy import BindParameter, Connection, Select, bindparam
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Delete, Insert, Update

Row: TypeAlias = tuple[Any, ...]
_Arrange: TypeAlias = Callable[[Row], Any]
KEYS_AT_ONCE: Final = 256
"""Keys in one IN list: below SQLite's smallest limit on parameters."""


class HotStatement:
    """An INSERT, UPDATE or DELETE run for many rows at once.

    Args:
        statement: With a bind parameter for every name in `names`.
        names: The bind parameters in the order in which rows give them.
    """

    def __init__(self, statement: Insert | Update | Delete, names: Sequence[str]) -> None:
        self._statement = statement
        self._names = tuple(names)
        self._compiled: dict[str, tuple[str, _Arrange]] = {}

    def many(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Run for every row; returns how many rows were touched."""
        if not rows:
            return 0
        sql, arrange = self._compiled.get(connection.dialect.name) or self._compile(connection)
        with _cursor(connection, sql) as cursor:
            cursor.executemany(sql, rows if arrange is tuple else [arrange(row) for row in rows])
            touched: int = cursor.rowcount
        return touched

    def _compile(self, connection: Connection) -> tuple[str, _Arrange]:
        made = _compile(connection, self._statement, self._names)
        self._compiled[connection.dialect.name] = made
        return made


class HotQuery:
    """A SELECT run again and again.

    Args:
        statement: With a bind parameter for every name in `names`.
        names: The bind parameters in the order in which `rows` takes their values.
    """

    def __init__(self, statement: Select[Any], names: Sequence[str]) -> None:
        self._statement = statement
        self._names = tuple(names)
        self._compiled: dict[str, tuple[str, _Arrange]] = {}

    def rows(self, connection: Connection, *values: Any) -> Sequence[Sequence[Any]]:
        """Every row for these values."""
        made = self._compiled.get(connection.dialect.name)
        if made is None:
            made = _compile(connection, self._statement, self._names)
            self._compiled[connection.dialect.name] = made
        sql, arrange = made
        with _cursor(connection, sql) as cursor:
            cursor.execute(sql, arrange(values))
            found: Sequence[Sequence[Any]] = cursor.fetchall()
        return found

    def first(self, connection: Connection, *values: Any) -> Sequence[Any] | None:
        """The first row for these values, if there is one."""
        found = self.rows(connection, *values)
        return found[0] if found else None


class HotLookup:
    """A SELECT for a list of keys, compiled once for each power of two that lists are filled up to.

    Args:
        build: Makes the statement from the bind parameters of the keys; it may use those of `names` besides.
        names: Further bind parameters in the order in which `rows` takes their values.
    """

    def __init__(self, build: Callable[[Sequence[BindParameter[Any]]], Select[Any]], names: Sequence[str]) -> None:
        self._build = build
        self._names = tuple(names)
        self._queries: dict[int, HotQuery] = {}

    def rows(self, connection: Connection, keys: Sequence[Any], *values: Any) -> Iterator[Sequence[Any]]:
        """Every row for these keys; none without keys."""
        for start in range(0, len(keys), KEYS_AT_ONCE):
            part = keys[start : start + KEYS_AT_ONCE]
            size = 1 << (len(part) - 1).bit_length()
            query = self._queries.get(size) or self._make(size)
            yield from query.rows(connection, *values, *part, *(part[-1] for _ in range(size - len(part))))

    def _make(self, size: int) -> HotQuery:
        names = [f"key_{at}" for at in range(size)]
        query = HotQuery(self._build([bindparam(name) for name in names]), (*self._names, *names))
        self._queries[size] = query
        return query


@contextmanager
def _cursor(connection: Connection, sql: str) -> Iterator[Any]:
    """A cursor of the driver, inside the connection's transaction.

    Raises:
        DBAPIError: As SQLAlchemy would have raised it, without the values of the statement.
    """
    if not connection.in_transaction():
        connection.begin()  # ends with the connection, as one that SQLAlchemy begins by itself
    driver: Any = connection.dialect.loaded_dbapi
    try:
        cursor = connection.connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()
    except driver.Error as error:
        raise DBAPIError.instance(
            sql, None, error, driver.Error, hide_parameters=True, dialect=connection.dialect
        ) from error


def _compile(
    connection: Connection, statement: Select[Any] | Insert | Update | Delete, names: Sequence[str]
) -> tuple[str, _Arrange]:
    """The dialect's SQL, and how to turn values in the order of `names` into its parameters."""
    keys = list(names) if isinstance(statement, Insert) else None
    compiled = statement.compile(dialect=connection.dialect, column_keys=keys)
    # A dialect may add parameters of its own (SQLite's OFFSET 0); their values are known already.
    added = {name: value for name, value in compiled.params.items() if name not in names}
    order = getattr(compiled, "positiontup", None)
    if order is None:
        return str(compiled), lambda row: {**added, **dict(zip(names, row, strict=True))}
    if tuple(order) == tuple(names):
        return str(compiled), tuple
    return str(compiled), _reorder([names.index(n) if n in names else len(names) for n in order], tuple(added.values()))


def _reorder(indexes: Sequence[int], added: Row) -> _Arrange:
    if not added:
        return itemgetter(*indexes) if len(indexes) > 1 else lambda row: (row[indexes[0]],)
    return lambda row: tuple((*row, *added)[at] for at in indexes)
