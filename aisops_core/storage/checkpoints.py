"""Brings SQLite's write-ahead log into the database file beside the commits; see `folding` for when."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import structlog

from aisops_core.storage.folding import Folding, Turn, pages_for

BUSY_TIMEOUT_S: Final = 1.0
log = structlog.get_logger(__name__)


class Checkpoints:
    """Looks after the log of one SQLite file. Everything but the work beside the commits is the committer's thread's.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folding = Folding(pages_for(_size_of_disk(path)))
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="store-checkpoint")
        self._work: Future[int] | None = None

    def committed(self) -> None:
        """A group was committed, and whoever waited for it has been told."""
        if self._work is not None and self._work.done():
            self._work = None
            self._folding.brought_in()
        turn = self._folding.committed()
        if turn is Turn.BEGIN:
            self._work = self._beside.submit(self._bring_in)
        elif turn is Turn.FINISH:
            self._finish()

    def refused(self) -> None:
        """The database took a group not at all: on a full disk the log's own room may help."""
        self._finish()

    def stop(self) -> None:
        """Wait for what is under way."""
        self._beside.shutdown()

    def _finish(self) -> None:
        pages = self._bring_in()
        if pages < 0:
            self._folding.failed()
        else:
            self._folding.finished(pages)

    def _bring_in(self) -> int:
        """Bring in what the log holds, waiting for nobody; its pages, or -1 when that failed, which costs no row."""
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection:
                _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                return int(pages)
        except sqlite3.Error as error:
            log.warning("the log could not be brought into the database; it will be tried again", error=str(error))
            return -1


def _size_of_disk(path: Path) -> int:
    with suppress(OSError):
        disk = os.statvfs(path.parent)
        return disk.f_blocks * disk.f_frsize
    return 1 << 40
