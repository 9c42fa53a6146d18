"""An HTTP client that costs as little as Python allows, so that a round measures Core and not the submitter.

It sends one prepared request again and again and looks only for the answer's status and length; every answer's body is
handed on and checked by whoever asked. Trusted servers only: this is no client for the open network.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class LeanConnection(asyncio.Protocol):
    """One connection that sends its request as often as `turns` allows, one after the other."""

    def __init__(self, request: bytes, turns: Callable[[], bool], take: Callable[[bytes], None]) -> None:
        self._request, self._turns, self._take = request, turns, take
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._begun = 0.0
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not of that class
        self._next()

    def _next(self) -> None:
        if self._transport is None:
            return
        if self._turns():
            self._begun = time.perf_counter()
            self._transport.write(self._request)
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Collect one answer; whole, it is handed on and the next request goes out."""
        self._got += data
        head = self._got.find(b"\r\n\r\n")
        if head < 0:
            return
        found = _LENGTH.search(self._got, 0, head + 2)
        end = head + 4 + (int(found[1]) if found else 0)
        if len(self._got) < end:
            return
        body, status = bytes(self._got[head + 4 : end]), bytes(self._got[9:12])
        del self._got[:end]
        self.latencies.append(time.perf_counter() - self._begun)
        try:
            if status[:1] != b"2":
                raise RuntimeError(f"Core answered {status.decode()}: {body[:300]!r}")
            self._take(body)
        except RuntimeError as error:
            if not self.done.done():
                self.done.set_exception(error)
            return
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """All turns were taken, or Core hung up."""
        if self.done.done():
            return
        if exc is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(exc)


def request_of(url: str, path: str, token: str, body: bytes, wait_s: int) -> bytes:
    """Return the octets of one POST."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nPrefer: wait={wait_s}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def send_many(
    url: str, request: bytes, connections: int, count: int, take: Callable[[bytes], None]
) -> tuple[list[float], float]:
    """Send the request `count` times over so many connections; return every latency and the whole time, seconds.

    Raises:
        RuntimeError: Core answered something else than success, or `take` refused an answer.
    """
    address, left = urlsplit(url), count

    def turns() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    made = [
        await loop.create_connection(lambda: LeanConnection(request, turns, take), address.hostname, address.port)
        for _ in range(min(connections, count))
    ]
    await asyncio.gather(*(connection.done for _, connection in made))
    return [latency for _, connection in made for latency in connection.latencies], time.perf_counter() - begun
