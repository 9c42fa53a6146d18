"""Records, with strace, everything a program does to the files of one folder, and everything it says meanwhile.

The order is the kernel's: a write is there from the moment its call returned; a sync covers the writes that had
returned when its call began; what the program says counts from the moment its call began.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

_CALLS = (
    "openat,creat,open,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,ftruncate,fallocate,"
    "rename,renameat,renameat2,unlink,unlinkat,sendto,sendmsg"
)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
_BEGUN = re.compile(r"^(\d+) +((\w+)\(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_HANDLE = re.compile(r"^(\d+)<([^>]*)>")
_SYNCS = frozenset({"fsync", "fdatasync"})


@dataclass(frozen=True, slots=True)
class Made:
    """A file came to be."""

    name: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """Octets were put into a file."""

    name: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resized:
    """A file was cut, or lengthened by zeros."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A file got another name, over whatever stood there."""

    name: str
    to: str


@dataclass(frozen=True, slots=True)
class Removed:
    """A name was taken away."""

    name: str


@dataclass(frozen=True, slots=True)
class Synced:
    """The disk was told to keep what had been written by event `begun` (its number); no name: the folder itself."""

    name: str
    begun: int


@dataclass(frozen=True, slots=True)
class Said:
    """The program told somebody something: on a socket, or in its file of words."""

    data: bytes


TraceEvent: TypeAlias = Made | Wrote | Resized | Moved | Removed | Synced | Said


class TraceUnreadable(Exception):
    """strace wrote a call that this cannot take account of; a replay would leave something out."""


def traced(command: Sequence[str | Path], into: Path) -> list[str]:
    """The command that runs `command` and records it; the process started is the program itself, not strace."""
    strace = shutil.which("strace")
    if strace is None:
        raise FileNotFoundError("strace is not installed")
    options = ("-D", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "4194304", "-e", "signal=none", "-e", f"trace={_CALLS}")
    return [strace, *options, "-o", str(into), *map(str, command)]


def complete(file: Path, pid: int) -> bool:
    """Whether the recording of a program that has ended is all there; strace writes its last lines a moment later."""
    with file.open("rb") as trace:
        trace.seek(max(0, file.stat().st_size - 4096))
        return re.search(rb"^%d +\+\+\+ " % pid, trace.read(), re.MULTILINE) is not None  # short ids are padded


def read_trace(file: Path, folder: Path, words: Path | None = None) -> list[TraceEvent]:
    """What a recording holds about the files of `folder`, in order.

    Args:
        file: What strace wrote.
        folder: Only files directly in it are looked at.
        words: What is written there counts as said, besides everything sent on a socket.

    Raises:
        TraceUnreadable: A file was changed in a way that the replay does not know.
    """
    reader = _Reader(folder, words)
    with file.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            reader.line(line.rstrip("\n"))
    return reader.events


class _Reader:
    def __init__(self, folder: Path, words: Path | None) -> None:
        self._folder, self._words = folder, str(words) if words else ""
        self._begun: dict[str, tuple[str, int]] = {}
        self._at: dict[int, int] = {}
        self._known: set[str] = set()
        self.events: list[TraceEvent] = []

    def line(self, line: str) -> None:
        if found := _BEGUN.match(line):
            self._begun[found[1]] = (found[2], len(self.events))
            if self._speaks(found[3], found[2].split("(", 1)[1]):
                self.events.append(Said(_octets(found[2])))
            return
        begun = len(self.events)
        resumed = _RESUMED.match(line)
        if resumed:
            head, begun = self._begun.pop(resumed[1], ("", begun))
            line = f"{resumed[1]} {head}{resumed[2]}"
        if (found := _CALL.match(line)) and int(found[4]) >= 0:
            self._call(found[2], found[3], int(found[4]), begun, told=resumed is not None)

    def _call(self, name: str, arguments: str, result: int, begun: int, *, told: bool) -> None:
        if name in {"open", "openat", "creat"}:
            self._opened(arguments, result)
        elif name in _SYNCS:
            self._synced(_path(arguments), begun)
        elif name.startswith("rename"):
            self._renamed(*(_octets(f'"{one}"').decode() for one in _STRING.findall(arguments)))
        elif name.startswith("unlink"):
            if (file := self._ours(_octets(arguments).decode())) is not None:
                self._known.discard(file)
                self.events.append(Removed(file))
        elif self._speaks(name, arguments):
            if not told:
                self.events.append(Said(_octets(arguments)))
        elif (file := self._ours(_path(arguments))) is not None:
            self._changed(name, file, arguments, result)

    def _opened(self, arguments: str, handle: int) -> None:
        self._at[handle] = 0
        file = self._ours(_octets(arguments).decode())
        if file is None:
            return
        if "O_APPEND" in arguments:
            raise TraceUnreadable(f"{file} was opened for appending")
        if "O_CREAT" in arguments and file not in self._known:
            self._known.add(file)
            self.events.append(Made(file))
        elif "O_TRUNC" in arguments:
            self.events.append(Resized(file, 0))

    def _synced(self, path: str, begun: int) -> None:
        file = "" if path == str(self._folder) else self._ours(path)
        if file is not None:
            self.events.append(Synced(file, begun))

    def _renamed(self, old: str, new: str) -> None:
        name, to = self._ours(old), self._ours(new)
        if name is None and to is None:
            return
        if name is None or to is None:
            raise TraceUnreadable(f"{old} was moved to {new}, into the folder or out of it")
        self._known.discard(name)
        self._known.add(to)
        self.events.append(Moved(name, to))

    def _changed(self, name: str, file: str, arguments: str, result: int) -> None:
        handle = _HANDLE.match(arguments)
        if handle is None or "(deleted)" in handle[2]:
            return
        numbers = [int(one) for one in re.findall(r", (\d+)(?=,|$)", _STRING.sub('""', arguments))]
        if name == "ftruncate":
            self.events.append(Resized(file, numbers[-1]))
        elif name == "pwrite64":
            self.events.append(Wrote(file, numbers[-1], _octets(arguments)[:result]))
        elif name == "write":
            at = self._at.get(int(handle[1]), 0)
            self._at[int(handle[1])] = at + result
            self.events.append(Wrote(file, at, _octets(arguments)[:result]))
        elif name == "fallocate":
            self.events.append(Resized(file, sum(numbers[-2:])))
        else:
            raise TraceUnreadable(f"{name} on {file}")

    def _speaks(self, name: str, arguments: str) -> bool:
        path = _path(arguments) if "write" in name or "send" in name else ""
        return bool(path) and (path.startswith(("socket:", "TCP", "UNIX")) or path == self._words)

    def _ours(self, path: str) -> str | None:
        """The file's name when it lies directly in the folder."""
        at = Path(path)
        return at.name if at.parent == self._folder else None


def _path(arguments: str) -> str:
    handle = _HANDLE.match(arguments)
    return _octets(f'"{handle[2]}"').decode(errors="replace") if handle else ""


def _octets(text: str) -> bytes:
    """Every string in a call, joined."""
    return b"".join(bytes.fromhex(one.replace("\\x", "")) for one in _STRING.findall(text))


def sayings(events: Sequence[TraceEvent]) -> Iterator[bytes]:
    """What was said, in order."""
    return (event.data for event in events if isinstance(event, Said))
