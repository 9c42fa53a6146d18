"""Room kept for the day the disk is full: without it SQLite could not even delete what Core has acknowledged."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

BALLAST_BYTES = 4 * 1024 * 1024


class Ballast:
    """A file that is nothing but reserved space. Failing to reserve is not an error: it only means less safety.

    Attributes:
        held: The space is reserved now.
    """

    def __init__(self, path: Path, size_bytes: int = BALLAST_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self.held = False

    def reserve(self) -> bool:
        """Take the space again, when the disk has it and as much once more; True when it is held."""
        self.held = self._reserve()
        return self.held

    def _reserve(self) -> bool:
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size >= self._size_bytes:
                return True
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < 2 * self._size_bytes:
                return False
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, self._size_bytes)
            finally:
                os.close(fd)
            return True
        return False

    def release(self) -> bool:
        """Give the space back to the disk; True when there was some."""
        self.held = False
        with contextlib.suppress(OSError):
            self._path.unlink()
            return True
        return False
