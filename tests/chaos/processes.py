"""Looks at the processes of a stage from outside, through /proc: who is there, whose children, how big."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """One process as it was a moment ago."""

    pid: int
    parent: int
    state: str
    command: tuple[str, ...]

    @property
    def zombie(self) -> bool:
        """Ended, and nobody has asked how."""
        return self.state == "Z"


def descendants() -> list[Seen]:
    """Every process that this one has started, directly or not, and that has not ended."""
    seen, mine = everything(), {os.getpid()}
    while more := {one.pid for one in seen if one.parent in mine} - mine:
        mine |= more
    return [one for one in seen if one.pid in mine - {os.getpid()} and not one.zombie]


def kill_descendants() -> None:
    """Kill all of them; those that are being started meanwhile are not met, and sidecars end with their Runner."""
    for one in descendants():
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)


def end_descendants(patience_s: float = 10.0) -> None:
    """Kill all of them until none is left; for the end, when nothing is started any more."""
    until = time.monotonic() + patience_s
    while descendants() and time.monotonic() < until:
        kill_descendants()
        time.sleep(0.02)


def everything() -> list[Seen]:
    """Every process that can be looked at."""
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                command = tuple((folder / "cmdline").read_text(errors="replace").split("\0"))
                found.append(Seen(int(folder.name), int(fields[1]), fields[0], command))
    return found


def sidecars(home: Path) -> list[Seen]:
    """Sidecars that a Runner of this stage has started, whoever is their parent now."""
    mark = f"{home}/".encode()
    found = []
    for one in everything():
        if "aisops_plugin_sdk" in one.command and "serve" in one.command:
            with contextlib.suppress(OSError):
                if mark in (PROC / str(one.pid) / "environ").read_bytes():
                    found.append(one)
    return found


def zombies(parent: int) -> list[Seen]:
    """Children of a process that have ended and were not reaped."""
    return [one for one in everything() if one.zombie and one.parent == parent]


def rss_kib(pid: int) -> int:
    """Resident memory of a process, KiB."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_KIB


def open_files(pid: int) -> int:
    """How many file descriptors a process holds."""
    return len(os.listdir(PROC / str(pid) / "fd"))  # noqa: PTH208 - names are enough


def cpu_s(pid: int) -> float:
    """Processor time of a process, user and system, seconds."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
