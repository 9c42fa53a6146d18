"""Facts about the database as a whole.

The Core epoch changes when the database is restored from a backup. A mark changes with what it stands for, so that
other processes learn of a change by reading one row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from aisops_core.storage.schema import meta

CORE_EPOCH: Final = "core_epoch"
EPOCH_BYTES: Final = 16
PROBE: Final = "probe"
TOKENS_MARK: Final = "tokens_mark"
"""Changes whenever a token stops being good before its time."""


def ensure_core_epoch(connection: Connection, random_bytes: Callable[[int], bytes]) -> bytes:
    """The 16 octets that name this life of the database; drawn at its first use."""
    found = connection.execute(select(meta.c.value).where(meta.c.key == CORE_EPOCH)).scalar()
    if found is not None:
        return bytes(found)
    epoch = random_bytes(EPOCH_BYTES)
    connection.execute(insert(meta).values(key=CORE_EPOCH, value=epoch))
    return epoch


def probe(connection: Connection) -> None:
    """Write a little, to learn whether the database takes writes (again)."""
    connection.execute(delete(meta).where(meta.c.key == PROBE))
    connection.execute(insert(meta).values(key=PROBE, value=bytes(1)))


def move_mark(connection: Connection, key: str, value: bytes) -> None:
    """Give a mark another value, in the transaction that changes what it stands for."""
    if connection.execute(update(meta).where(meta.c.key == key).values(value=value)).rowcount == 0:
        connection.execute(insert(meta).values(key=key, value=value))


def read_mark(connection: Connection, key: str) -> bytes:
    """A mark's value; empty before its first change."""
    found = connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()
    return b"" if found is None else bytes(found)
