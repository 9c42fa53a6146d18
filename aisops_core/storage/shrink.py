"""Gives free pages of a SQLite file back to the disk, a few at a time. PostgreSQL looks after its files itself."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

PAGES_AT_ONCE: Final = 100
FREE_SHARE: Final = 0.25
"""Below this share of the file free pages are left: new rows will use them."""
FREE_PAGES: Final = 4_096
"""The same as a number: 16 MiB of 4 KiB pages."""
_INCREMENTAL: Final = 2


def shrinkable(connection: Connection) -> bool:
    """True when much of the file is free and it can be given back page by page."""
    if connection.dialect.name != "sqlite" or _pragma(connection, "auto_vacuum") != _INCREMENTAL:
        return False
    free, pages = _pragma(connection, "freelist_count"), _pragma(connection, "page_count")
    return free > FREE_PAGES and free > pages * FREE_SHARE


def shrink(connection: Connection) -> int:
    """Give back some pages; returns how many."""
    before = _pragma(connection, "freelist_count")
    for _ in range(min(before, PAGES_AT_ONCE)):
        connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")  # the driver takes one step of it, whatever N says
    return before - _pragma(connection, "freelist_count")


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
