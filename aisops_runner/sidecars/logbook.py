"""The last lines of each plugin's sidecar, in two bounded files a plugin, for `aisops-runner plugin logs`.

A thread of its own writes them: a disk that hangs must hold up nothing else. Lines wait in a bounded queue; when it is
full they are counted and left out. They come here redacted; what cannot be written is lost here and nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from aisops_protocol.messages import LogLevel
from aisops_runner.adapters.calls import JobLog

FILE_BYTES: Final = 5 * 1024 * 1024
"""Of each of the two files; together the 10 MB that a plugin may have."""
WAITING_LINES: Final = 10_000
STOP_S: Final = 2.0
READ_BYTES: Final = 64 * 1024

_log = structlog.get_logger("aisops_runner.sidecars")


@dataclass(frozen=True, slots=True)
class Line:
    """One line, as it is kept."""

    time_unix_ms: int
    level: str
    job_id: str
    text: str


class Logbook:
    """Takes lines from the loop's thread and writes them in its own.

    Args:
        folder: DATA/plugins/logs.
        file_bytes: At most so many in each of the two files of a plugin.
    """

    def __init__(self, folder: Path, *, file_bytes: int = FILE_BYTES) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self._waiting: queue.Queue[JobLog | None] = queue.Queue(WAITING_LINES)
        self._files: dict[str, BinaryIO] = {}
        self._thread: threading.Thread | None = None
        self._failing = False
        self.left_out = 0

    def put(self, line: JobLog) -> None:
        """Keep a line; returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="plugin-logs", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self.left_out += 1

    def stop(self) -> None:
        """Write what waits, for a moment at most. Blocking."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(STOP_S)
        self._thread = None

    def _work(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            while (line := self._waiting.get()) is not None:
                try:
                    self._write(line)
                    self._failing = False
                except OSError as error:
                    self._forget(line.source)
                    if not self._failing:
                        _log.warning("log lines of plugins cannot be kept", error=str(error))
                    self._failing = True

    def _write(self, line: JobLog) -> None:
        raw = encode(line)
        file = self._files.get(line.source) or self._open(line.source)
        if file.tell() + len(raw) > self._file_bytes:
            self._forget(line.source)
            path = path_of(self._folder, line.source)
            path.replace(older(path))
            file = self._open(line.source)
        file.write(raw)

    def _open(self, plugin: str) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        handle = os.open(path_of(self._folder, plugin), flags, 0o600)
        file: BinaryIO = os.fdopen(handle, "ab", 0)
        file.seek(0, os.SEEK_END)
        self._files[plugin] = file
        return file

    def _forget(self, plugin: str) -> None:
        file = self._files.pop(plugin, None)
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _close(self) -> None:
        for plugin in tuple(self._files):
            self._forget(plugin)


def path_of(folder: Path, plugin: str) -> Path:
    """The newer of a plugin's two files; the plugin's name was checked before it was ever used."""
    return folder / f"{plugin}.log"


def older(path: Path) -> Path:
    """The other one."""
    return path.with_name(f"{path.name}.1")


def encode(line: JobLog) -> bytes:
    """A line as it stands in the file: one JSON object, so that no text can look like two lines."""
    document = [line.time_unix_ms, line.level.name.lower(), line.job_id, line.text]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def decode(raw: bytes) -> Line | None:
    """Read a line back; None for one that is damaged, as the last one may be after a power cut."""
    try:
        at, level, job_id, text = json.loads(raw)
        known = LogLevel[level.upper()].name.lower()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    whole = isinstance(at, int) and isinstance(job_id, str) and isinstance(text, str)
    return Line(at, known, job_id, text) if whole else None


def last_lines(folder: Path, plugin: str, count: int) -> list[Line]:
    """The last lines of a plugin, the oldest first.

    Raises:
        OSError: The disk refused.
    """
    path = path_of(folder, plugin)
    found: list[Line] = []
    for file in (path, older(path)):
        for raw in _backwards(file):
            if len(found) >= count:
                break
            line = decode(raw)
            if line is not None:
                found.append(line)
    return found[::-1]


def _backwards(path: Path) -> Iterator[bytes]:
    """The lines of a file from its end; none when there is no file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        at, rest = file.seek(0, os.SEEK_END), b""
        while at:
            size = min(READ_BYTES, at)
            at -= size
            file.seek(at)
            pieces = (file.read(size) + rest).split(b"\n")
            rest = pieces[0]
            yield from (piece for piece in reversed(pieces[1:]) if piece)
        if rest:
            yield rest
