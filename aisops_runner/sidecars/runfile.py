"""Remembers which processes are ours, so that what a kill -9 left behind is ended at the next start, and nothing else.

A process is provably ours when boot, process id and start time all match: a process id alone may long belong to
somebody else.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

import structlog

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
GRACE_S = 1.0

_log = structlog.get_logger("aisops_runner.sidecars")


@dataclass(frozen=True, slots=True)
class RunFile:
    """One recorded sidecar process."""

    path: Path

    def write(self, pid: int) -> None:
        """Record a process that was just started; best effort, the lifeline is what protects."""
        started = start_ticks(pid)
        if started is None:
            return
        document = {"pid": pid, "start_ticks": started, "boot_id": _boot_id()}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.unlink(missing_ok=True)
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(json.dumps(document).encode())

    def remove(self) -> None:
        """The process was reaped."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None when there is no such process (or no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything, brackets and spaces included
    return int(fields[19]) if len(fields) > 19 and fields[0] != "Z" else None


def sweep(folder: Path) -> list[int]:
    """End every recorded process that is still running and provably ours; forget the records.

    Returns:
        The process ids that were ended. Blocks up to `GRACE_S` seconds for each.
    """
    ended: list[int] = []
    for path in sorted(folder.glob("*.json")):
        pid = _recorded(path)
        if pid is not None and _end(pid[0], pid[1]):
            ended.append(pid[0])
            _log.warning("ended a sidecar that an earlier Runner left behind", plugin=path.stem, pid=pid[0])
        RunFile(path).remove()
    return ended


def _recorded(path: Path) -> tuple[int, int] | None:
    try:
        document = json.loads(path.read_bytes()[:4096])
        pid, started, boot = document["pid"], document["start_ticks"], document["boot_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    valid = isinstance(pid, int) and pid > 1 and isinstance(started, int) and boot == _boot_id()
    return (pid, started) if valid else None


def _end(pid: int, started: int) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if start_ticks(pid) != started:  # asked after the handle is held: it cannot change any more
            return False
        for number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(pid) == pid:
                    os.killpg(pid, number)
                else:
                    signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], wait_s)[0]:
                return True
        return True
    finally:
        os.close(handle)


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
