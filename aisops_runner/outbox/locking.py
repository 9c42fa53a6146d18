"""The data directory: private to one user, and to one Runner at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from aisops_runner import disk
from aisops_runner.errors import DataDirUnusable

LOCK_NAME = "runner.lock"


class DataDirLock:
    """An advisory lock on the data directory, held from construction until `release` or the end of the process.

    Args:
        directory: Made with mode 0700 when absent; an existing one loses every right of group and others.

    Raises:
        DataDirUnusable: The directory cannot be made or written, or another Runner holds it.
        StorageFailed: The disk refused.
    """

    def __init__(self, directory: Path) -> None:
        self._fd = -1
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if directory.stat().st_mode & 0o077:
                directory.chmod(0o700)
            self._fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk.refusal(f"cannot use {directory}", error, directory) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            self._fd = -1
            raise DataDirUnusable(
                f"another Runner (process {holder or 'unknown'}) uses {directory}; "
                "stop it first or give this one its own data directory",
                key="data_dir",
                code="data_dir_in_use",
            ) from error
        except OSError as error:
            self.release()
            raise disk.refusal(f"cannot lock {directory}", error, directory) from error
        with contextlib.suppress(OSError):  # whose it is only helps people; a full disk must not keep a Runner out
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another Runner in. Harmless when called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
