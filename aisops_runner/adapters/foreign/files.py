"""Reads files of a folder that strangers filled: regular ones inside it, of a bounded size, without waiting."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_regular(path: Path, limit_bytes: int, *, within: Path) -> bytes:
    """Read a file; at most one octet more than the limit, so that the caller sees when it is larger.

    Args:
        path: The file. Symbolic links are followed as long as they stay in the folder.
        limit_bytes: How much is wanted.
        within: The folder.

    Raises:
        OSError: There is no such file, it cannot be read, or it is a pipe, a device or a folder.
        ValueError: It leads out of the folder.
    """
    real = path.resolve(strict=True)
    if not real.is_relative_to(within.resolve(strict=True)):
        raise ValueError(f"{path.name} is a link that leads out of its folder")
    handle = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path.name} is not a regular file")
        return file.read(limit_bytes + 1)
