"""A TCP proxy that does harm: delays, holds back, cuts, corrupts, and closes what is idle. It needs no root.

It knows nothing of what passes through. What it holds back is delivered when it lets go, as a network that was cut and
healed retransmits: to the two ends that is a partition.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tests.chaos.injection.wire import BOTH, Way

_CHUNK_BYTES = 16 * 1024
_AHEAD = 64  # chunks read ahead of a slow way; beyond that the sender feels it


class ChaosProxy:
    """Listens on a free loopback port and passes every connection on to another port.

    Args:
        target_port: Where to pass it on to, on loopback; may be set later, before the first connection.
        rng: Chance, for what is corrupted.

    Attributes:
        port: Where it listens.
        latency_s: Seconds that every octet is late, each way.
        bytes_per_s: How much it passes on, each way and connection; 0: all it can.
        idle_cut_s: Connections on which nothing moved for so many seconds are closed; 0: never.
        corrupt: Chance that a chunk passed on has one octet changed.
        refusing: New connections are reset at once.
        accepted: Connections accepted so far.
        idle_cuts: Connections closed because they were idle.
    """

    def __init__(self, target_port: int = 0, rng: random.Random | None = None) -> None:
        self.target_port, self._rng = target_port, rng or random.Random(0)
        self._links: set[_Link] = set()
        self._open = {way: asyncio.Event() for way in BOTH}
        self._server: asyncio.Server | None = None
        self.port = 0
        self.latency_s, self.bytes_per_s, self.idle_cut_s, self.corrupt = 0.0, 0, 0.0, 0.0
        self.refusing = False
        self.accepted = self.idle_cuts = 0

    async def __aenter__(self) -> Self:
        """Listen."""
        self.release()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection and stop listening."""
        if self._server is not None:
            self._server.close()
            await self.cut()
            await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._links)

    def hold(self, *ways: Way) -> None:
        """Pass nothing on in these directions until released; both ends stay connected and see silence."""
        for way in ways:
            self._open[way].clear()

    def release(self) -> None:
        """Pass everything on again, first of all what was held back."""
        for gate in self._open.values():
            gate.set()

    async def cut(self, *, reset: bool = True) -> int:
        """Close every connection, by a reset or in order; returns how many there were."""
        links = list(self._links)
        for link in links:
            link.end(reset=reset)
        await asyncio.gather(*(link.gone.wait() for link in links))
        return len(links)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refusing:
            _close([writer], reset=True)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port, limit=_CHUNK_BYTES)
        except OSError:
            _close([writer], reset=True)
            return
        link = _Link(self, (writer, far_writer))
        self._links.add(link)
        try:
            await link.run({Way.UP: (reader, far_writer), Way.DOWN: (far_reader, writer)})
        finally:
            self._links.discard(link)
            link.gone.set()

    async def gate(self, way: Way) -> None:
        """Wait until this direction is open."""
        await self._open[way].wait()

    def spoil(self, data: bytes) -> bytes:
        """The octets as they leave here."""
        if not self.corrupt or self._rng.random() >= self.corrupt:
            return data
        at = self._rng.randrange(len(data))
        return data[:at] + bytes((data[at] ^ (1 << self._rng.randrange(8)),)) + data[at + 1 :]


class _Link:
    """One connection: two ways, each read ahead and written when its time has come."""

    def __init__(self, proxy: ChaosProxy, writers: tuple[asyncio.StreamWriter, ...]) -> None:
        self._proxy, self._writers = proxy, writers
        self._loop = asyncio.get_running_loop()
        self._moved = self._loop.time()
        self._task: asyncio.Task[None] | None = None
        self._reset = False
        self.gone = asyncio.Event()

    def end(self, *, reset: bool) -> None:
        self._reset = reset
        if self._task is not None:
            self._task.cancel()

    async def run(self, ways: dict[Way, tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
        self._task = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch_idleness())
                passing = [group.create_task(self._pass(way, *ends)) for way, ends in ways.items()]
                await asyncio.wait(passing)
                watch.cancel()
        except* (ConnectionError, TimeoutError):
            self._reset = True
        except* asyncio.CancelledError:
            pass  # cut: that was the point
        finally:
            _close(self._writers, reset=self._reset)

    async def _pass(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ahead: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_AHEAD)
        delivering = asyncio.create_task(self._deliver(way, ahead, writer))
        try:
            while data := await reader.read(_CHUNK_BYTES):
                self._moved = self._loop.time()
                put = asyncio.ensure_future(ahead.put((self._moved + self._proxy.latency_s, data)))
                await asyncio.wait({put, delivering}, return_when=asyncio.FIRST_COMPLETED)
                if delivering.done():
                    put.cancel()
                    break
            else:
                await ahead.put((self._loop.time(), b""))
            await delivering
        finally:
            delivering.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await delivering

    async def _deliver(self, way: Way, ahead: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await ahead.get()
            await asyncio.sleep(due - self._loop.time())
            await self._proxy.gate(way)
            if not data:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            for part in self._portions(data):
                writer.write(self._proxy.spoil(part))
                await writer.drain()
                self._moved = self._loop.time()
                if self._proxy.bytes_per_s:
                    await asyncio.sleep(len(part) / self._proxy.bytes_per_s)

    def _portions(self, data: bytes) -> Iterable[bytes]:
        """The chunk in pieces small enough that a slow way is slow all the time."""
        size = max(1, self._proxy.bytes_per_s // 20) if self._proxy.bytes_per_s else len(data)
        return (data[start : start + size] for start in range(0, len(data), size))

    async def _watch_idleness(self) -> None:
        while True:
            limit_s = self._proxy.idle_cut_s
            if not limit_s:
                await asyncio.sleep(0.5)
                continue
            left_s = self._moved + limit_s - self._loop.time()
            if left_s <= 0:
                self._proxy.idle_cuts += 1
                raise TimeoutError
            await asyncio.sleep(left_s)


def _close(writers: Iterable[asyncio.StreamWriter], *, reset: bool) -> None:
    for writer in writers:
        if reset and (raw := writer.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()
