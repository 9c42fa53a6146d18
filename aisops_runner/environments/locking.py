"""Only one command changes the installed plugins at a time.

The lock is the kernel's, so it ends with whoever holds it. The programs a command starts inherit it: while an
installer lives on after its command was killed, the next command is refused, and does not clean up under its hands.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from aisops_runner import disk
from aisops_runner.environments.layout import Layout
from aisops_runner.errors import CommandsBusy, DataDirUnusable


class CommandLock:
    """A context manager that holds the lock.

    Raises:
        CommandsBusy: Another command holds it.
        DataDirUnusable: The folder cannot be made or written, or belongs to another user.
        StorageFailed: The disk refused.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.fd = -1

    def __enter__(self) -> Self:
        path = self._layout.lock
        try:
            for folder in (path.parent.parent, path.parent):  # `parents` would make the data folder for everybody
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _check_owner(path.parent)
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self.fd, 32, 0).decode("ascii", "replace").strip()
            self.__exit__(None, None, None)
            text = f"another plugin command (process {holder or 'unknown'}) is at work; try again when it has ended"
            raise CommandsBusy(text) from None
        except OSError as error:
            self.__exit__(None, None, None)
            raise disk.refusal(f"cannot use {path}", error, path) from error
        with contextlib.suppress(OSError):  # whose it is only helps people
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _check_owner(folder: Path) -> None:
    """What root writes here, the Runner's own user could neither read nor replace."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        text = f"{folder} belongs to the user with id {owner}; run this command as that user, as the Runner does"
        raise DataDirUnusable(text, key="data_dir", code="other_user")
