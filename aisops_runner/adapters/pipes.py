"""Reads a child's output line by line, never making it wait and never holding more than one line's cap."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

LINE_CAP_BYTES = 64 * 1024


class LineReader(asyncio.Protocol):
    """Splits a byte stream into lines.

    Args:
        on_line: Called with each line, without its end.
        cap_bytes: Longer lines are cut here; the rest is dropped and counted.
        admit: Asked once per chunk how many more lines may be passed on; lines beyond are counted and dropped unread,
            so that a flood costs next to nothing. None: no limit.
        kept: Lines that begin so are passed on in a flood too, as many as `admit_kept` says.
        admit_kept: Asked when a flood begins in a chunk.
    """

    def __init__(
        self,
        on_line: Callable[[bytes], None],
        *,
        cap_bytes: int = LINE_CAP_BYTES,
        admit: Callable[[], int] | None = None,
        kept: bytes = b"",
        admit_kept: Callable[[], int] | None = None,
    ) -> None:
        self._kept = kept
        self._admit_kept = admit_kept
        self._on_line = on_line
        self._cap = cap_bytes
        self._admit = admit
        self._rest = b""
        self._cutting = False
        self.lines_dropped = 0
        self.bytes_dropped = 0
        self.closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Take one chunk."""
        budget = self._admit() if self._admit else len(data)
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            if budget <= 0:
                start = self._skip(data, start)
                break
            self._end_line(data[start:end])
            budget -= 1
            start = end + 1
        self._grow(data[start:])

    def _skip(self, data: bytes, start: int) -> int:
        """Drop the complete lines of a chunk but those to be kept; returns where the last, incomplete one begins."""
        last = data.rfind(b"\n") + 1
        left = self._admit_kept() if self._admit_kept else 0
        while left > 0 and (found := self._next_kept(data, start, last)) >= 0:
            self._drop(data, start, found)
            start = data.index(b"\n", found) + 1
            self._end_line(data[found : start - 1])
            left -= 1
        self._drop(data, start, last)
        return last

    def _next_kept(self, data: bytes, start: int, last: int) -> int:
        """Where the next line to be kept begins, or -1."""
        if start < last and (self._rest + data[start : start + len(self._kept)]).startswith(self._kept):
            return start
        found = data.find(b"\n" + self._kept, start, last)
        return found + 1 if found >= 0 else -1

    def _drop(self, data: bytes, start: int, end: int) -> None:
        if end > start:
            self.lines_dropped += data.count(b"\n", start, end)
            self.bytes_dropped += end - start + len(self._rest)
            self._rest, self._cutting = b"", False

    def connection_lost(self, exc: Exception | None) -> None:
        """The last writer closed its end: pass on what is left."""
        if self._rest:
            self._end_line(b"")
        if not self.closed.done():
            self.closed.set_result(None)

    def _grow(self, piece: bytes) -> None:
        if self._cutting:
            self.bytes_dropped += len(piece)
            return
        self._rest += piece
        if len(self._rest) > self._cap:
            self.bytes_dropped += len(self._rest) - self._cap
            self._rest = self._rest[: self._cap]
            self._cutting = True

    def _end_line(self, piece: bytes) -> None:
        self._grow(piece)
        line, self._rest, self._cutting = self._rest, b"", False
        self._on_line(line.rstrip(b"\r"))


class ByteCollector(asyncio.Protocol):
    """Collects a whole output up to a cap.

    Args:
        cap_bytes: Beyond this nothing is kept, `overflowed` is set and `on_overflow`, if set, is called once.
    """

    def __init__(self, cap_bytes: int) -> None:
        self._cap = cap_bytes
        self.on_overflow: Callable[[], None] | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self.overflowed = False
        self.closed = asyncio.get_running_loop().create_future()

    @property
    def data(self) -> bytes:
        """What came so far."""
        return b"".join(self._parts)

    def data_received(self, data: bytes) -> None:
        """Take one chunk."""
        if self.overflowed:
            return
        self._size += len(data)
        if self._size > self._cap:
            self.overflowed = True
            self._parts.clear()
            if self.on_overflow is not None:
                self.on_overflow()
        else:
            self._parts.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The last writer closed its end."""
        if not self.closed.done():
            self.closed.set_result(None)


async def open_pipe(build: Callable[[], asyncio.Protocol]) -> tuple[asyncio.ReadTransport, int]:
    """A pipe whose reading end feeds the protocol.

    Returns:
        The reading transport and the writing descriptor, which the caller hands to a child and then closes.
    """
    read_fd, write_fd = os.pipe()
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(build, os.fdopen(read_fd, "rb", 0))
    except BaseException:
        os.close(write_fd)
        raise
    return transport, write_fd
