"""System calls of a program that fail by chance with an I/O error, through libfiu's preloaded library.

Either from its start on (`failing`), or switched on and off while it runs (`FailingDisk`).
"""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
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
    words = [word for name, chance in chances.items() for word in ("-c", _enable(name, chance))]
    # Without a path for remote control, or it would leave named pipes behind.
    return [fiu, "-x", "-f", "", *words, *map(str, command)]


class FailingDisk:
    """The disk of one program, sound until told otherwise.

    Args:
        folder: Where the library may put its pipes.
    """

    def __init__(self, folder: Path) -> None:
        self._pipes = str(folder / "fiu")

    def under(self, command: Sequence[str | Path]) -> list[str]:
        """The command that runs `command` on this disk; the process started is the program itself.

        Raises:
            FileNotFoundError: libfiu's tools are not installed.
        """
        fiu = shutil.which("fiu-run")
        if fiu is None:
            raise FileNotFoundError("fiu-run is not installed")
        return [fiu, "-x", "-f", self._pipes, *map(str, command)]

    def fail(self, pid: int, chances: Mapping[str, float]) -> None:
        """From now on these calls of the program fail with EIO, each with its chance."""
        for name, chance in chances.items():
            self._tell(pid, _enable(name, chance))

    def heal(self, pid: int, names: Collection[str]) -> None:
        """From now on these calls work again."""
        for name in names:
            self._tell(pid, f"disable name={name}")

    def _tell(self, pid: int, words: str) -> None:
        subprocess.run(["fiu-ctrl", "-f", self._pipes, "-c", words, str(pid)], check=True, timeout=20)


def _enable(name: str, chance: float) -> str:
    return f"enable_random name={name},probability={chance},failinfo={errno.EIO}"
