"""Room kept for the day the disk is full: without it SQLite could not even delete what Core has acknowledged."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MIB = 1024 * 1024
LEAST_BYTES, MOST_BYTES = 4 * MIB, 16 * MIB
SHARE_OF_DISK = 64


def ballast_bytes(disk_bytes: int) -> int:
    """How much to keep on a disk of this size: for the results of everything under way, and for bringing the log in."""
    return max(LEAST_BYTES, min(MOST_BYTES, disk_bytes // SHARE_OF_DISK))


class Ballast:
    """A file that is nothing but reserved space. Failing to reserve is not an error: it only means less safety.

    Args:
        path: The file.
        size_bytes: How much; by default what the disk's size asks for.

    Attributes:
        held: The space is reserved now.
    """

    def __init__(self, path: Path, size_bytes: int = 0) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self.held = False

    def reserve(self) -> bool:
        """Take the space again, when the disk has it and as much once more; True when it is held."""
        self.held = self._reserve()
        return self.held

    def _reserve(self) -> bool:
        with contextlib.suppress(OSError):
            disk = os.statvfs(self._path.parent)
            wanted = self._size_bytes or ballast_bytes(disk.f_blocks * disk.f_frsize)
            if self._path.exists() and self._path.stat().st_size >= wanted:
                return True
            if disk.f_bavail * disk.f_frsize < 2 * wanted:
                return False
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, wanted)
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
