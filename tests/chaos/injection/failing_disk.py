"""System calls of a program that fail by chance with an I/O error, through libfiu's preloaded library."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

SYNC = "posix/io/sync/fdatasync"
WRITE = "posix/io/rw/pwrite"


def failing(command: Sequence[str | Path], chances: Mapping[str, float]) -> list[str]:
    """The command that runs `command` with these calls failing with EIO, each with its chance.

    Raises:
        FileNotFoundError: libfiu's tools are not installed.
    """
    fiu = shutil.which("fiu-run")
    if fiu is None:
        raise FileNotFoundError("fiu-run is not installed")
    words: list[str] = []
    for name, chance in chances.items():
        words += ["-c", f"enable_random name={name},probability={chance},failinfo={errno.EIO}"]
    # Without a path for remote control, or it would leave named pipes behind.
    return [fiu, "-x", "-f", "", *words, *map(str, command)]
