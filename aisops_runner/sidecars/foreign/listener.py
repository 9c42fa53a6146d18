"""Who listens on a port of this machine: whether it is a process of a given group, as Linux tells in /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTEN: Final = "0A"


def listens(group: int, port: int) -> bool | None:
    """Whether a process of this group listens on the port; None where that cannot be told."""
    sockets = _listening(port)
    if not sockets:
        return None
    return any(_holds(pid, sockets) for pid in _members(group))


def _listening(port: int) -> frozenset[str]:
    """The sockets that listen on a port, by the name that /proc gives them."""
    wanted = f":{port:04X}"
    found = set()
    for table in _TABLES:
        with contextlib.suppress(OSError), table.open(encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if len(fields) > 9 and fields[1].endswith(wanted) and fields[3] == _LISTEN:
                    found.add(f"socket:[{fields[9]}]")
    return frozenset(found)


def _members(group: int) -> Iterator[int]:
    """The group's processes, its leader first."""
    yield group
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != group:
            with contextlib.suppress(OSError):
                if os.getpgid(int(entry.name)) == group:
                    yield int(entry.name)


def _holds(pid: int, sockets: frozenset[str]) -> bool:
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()) in sockets:
                    return True
    return False
