"""Facts about the database as a whole: the Core epoch, which changes when the database is restored from a backup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from aisops_core.storage.schema import meta

CORE_EPOCH: Final = "core_epoch"
EPOCH_BYTES: Final = 16
PROBE: Final = "probe"


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
