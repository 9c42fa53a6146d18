"""When SQLite's write-ahead log is to be brought into the database file, and by whom. Pure.

SQLite would do it inside a commit, for which everybody in that group then waits. So most of it is done beside the
commits, while the log grows on; what has come meanwhile is little, and is brought in between two commits: only when
nothing is left does the log begin again from its start. How long the log is SQLite tells only then; from that follows
how many commits may pass before the next time.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

FOLD_PAGES: Final = 4_000
LEAST_PAGES: Final = 64
SHARE_OF_DISK: Final = 32
FIRST_COMMITS: Final = 16
MOST_COMMITS: Final = 1_000
LONGEST: Final = 8
"""A log this many times as long as it may get is brought in at once, whoever waits."""


class Turn(Enum):
    """What is to be done after a commit."""

    NOTHING = "nothing"
    BEGIN = "begin"  # beside the commits
    FINISH = "finish"  # here, before the next commit


def pages_for(disk_bytes: int, page_bytes: int = 4096) -> int:
    """How long the log may get on a disk of this size: on a very small one it would leave no room for the file."""
    return max(LEAST_PAGES, min(FOLD_PAGES, disk_bytes // SHARE_OF_DISK // page_bytes))


class Folding:
    """Counts the commits of one file.

    Args:
        pages: How long the log may get before it is brought in.
    """

    def __init__(self, pages: int = FOLD_PAGES) -> None:
        self._pages = pages
        self._every = FIRST_COMMITS
        self._commits = 0
        self._beside = False
        self._nearly_done = False

    def committed(self) -> Turn:
        """One more commit stands in the log."""
        self._commits += 1
        if self._nearly_done or self._commits >= self._every * LONGEST:
            return Turn.FINISH
        if self._commits >= self._every and not self._beside:
            self._beside = True
            return Turn.BEGIN
        return Turn.NOTHING

    def brought_in(self) -> None:
        """What the log held when the work beside the commits began is in the file, or could not be brought there."""
        self._nearly_done = True

    def finished(self, log_pages: int) -> None:
        """The rest was brought in between two commits; the log had so many pages."""
        if log_pages > 0:
            each = max(1.0, log_pages / max(1, self._commits))
            self._every = max(1, min(MOST_COMMITS, round(self._pages / each)))
        self._commits, self._beside, self._nearly_done = 0, False, False

    def failed(self) -> None:
        """It could not be brought in: try again a few commits later."""
        self._every, self._commits, self._beside, self._nearly_done = FIRST_COMMITS, 0, False, False
