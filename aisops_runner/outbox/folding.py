"""When to fold the write-ahead log back into the file. Pure.

SQLite would do it inside a commit, and then a fold that fails makes the commit look failed although it is on the disk.
So the writer folds by itself, between commits. How long the log is SQLite tells only when it folds; from that follows
how many commits may pass before the next time.
"""

from __future__ import annotations

FOLD_PAGES = 1000
LEAST_PAGES = 16
SHARE_OF_DISK = 32
FIRST_COMMITS = 8
MOST_COMMITS = 1000
LONGEST_BYTES = 8 * 1024 * 1024
"""A log of this size is folded at once: commits have grown since their size was last seen."""


def pages_for(disk_bytes: int, page_bytes: int = 4096) -> int:
    """How long the log may get on a disk of this size: on a very small one it would leave no room for the file."""
    return max(LEAST_PAGES, min(FOLD_PAGES, disk_bytes // SHARE_OF_DISK // page_bytes))


class Folding:
    """Counts commits of one file and says when it is time.

    Args:
        pages: How long the log may get.
    """

    def __init__(self, pages: int = FOLD_PAGES) -> None:
        self._pages = pages
        self._every = FIRST_COMMITS
        self._commits = 0

    def committed(self) -> None:
        """One more commit stands in the log."""
        self._commits += 1

    def due(self, log_bytes: int) -> bool:
        """True when the log should be folded now; `log_bytes` is the size of its file."""
        return self._commits >= self._every or (log_bytes > LONGEST_BYTES and self._commits > 0)

    def folded(self, log_pages: int) -> None:
        """The log was folded; it had so many pages."""
        pages_a_commit = max(1.0, log_pages / max(1, self._commits))
        self._every = max(1, min(MOST_COMMITS, round(self._pages / pages_a_commit)))
        self._commits = 0

    def failed(self) -> None:
        """It could not be folded: try again a few commits later."""
        self._every, self._commits = FIRST_COMMITS, 0
