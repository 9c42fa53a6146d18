"""What the Runner asks of a disk beside SQLite: a name that stays, and whether a refusal passes by itself.

A supervisor (systemd, an orchestrator) starts a program again unless it ends with the exit code for a wrong
configuration. A wrong path stays wrong; a disk that is full, or that answered with an error, may be well in a minute.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

from aisops_runner.errors import DataDirUnusable, RunnerError, StorageFailed

_FOR_GOOD: Final = frozenset(
    {
        errno.EACCES, errno.EEXIST, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENODEV,
        errno.ENOENT, errno.ENOTDIR, errno.ENOTSUP, errno.EPERM, errno.EROFS,
        None,  # Python's own refusals, for example of a socket's path that is too long
    }
)  # fmt: skip
_PERM, _READONLY, _FULL, _CANTOPEN = 3, 8, 13, 14
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def replace(draft: Path, path: Path) -> None:
    """Give a finished file, whose content is on the disk, another's name; on the disk when this returns. Blocking.

    Raises:
        OSError: The disk refused.
    """
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: without that, a power cut may bring back the old ones.

    Raises:
        OSError: The disk refused.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refusal(action: str, error: OSError | sqlite3.Error, path: Path) -> RunnerError:
    """What to raise when something in the data directory was refused.

    Args:
        action: What could not be done, as in "cannot open /data/outbox.db".
        error: What the system or SQLite said.
        path: The file or folder, asked once more when SQLite does not say why it cannot open it.

    Returns:
        DataDirUnusable (the wrong path, or the wrong rights), or StorageFailed for what may pass by itself.
    """
    words = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    if _for_good(error, path):
        return DataDirUnusable(f"{action}: {words}; make it writable for this user or name another", key="data_dir")
    if _no_room(error):
        return StorageFailed(f"{action}: {words}; make room on the disk and start the Runner again")
    return StorageFailed(
        f"{action}: {words}; start the Runner again, and when this stays look at the disk (the system's log says more)"
    )


def _for_good(error: OSError | sqlite3.Error, path: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FOR_GOOD
    code = _primary(error)
    if code == _CANTOPEN:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except FileNotFoundError:
            return False  # it could not even be made, in a folder that takes our lock
        except OSError as again:
            return again.errno in _FOR_GOOD
    return code in (_PERM, _READONLY)


def _no_room(error: OSError | sqlite3.Error) -> bool:
    return error.errno in _NO_ROOM if isinstance(error, OSError) else _primary(error) == _FULL


def _primary(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
