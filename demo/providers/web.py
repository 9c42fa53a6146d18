"""The part that the three HTTP stand-ins share: a loopback server, scripted interruptions, a record of acceptances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from aiohttp import web

from demo.providers.faults import Fault, FaultScript

RecordT = TypeVar("RecordT")

MAX_BODY_BYTES = 1024 * 1024
SHUTDOWN_GRACE_S = 0.2


class WebStandIn(Generic[RecordT]):
    """An HTTP provider on 127.0.0.1.

    Attributes:
        received: the messages accepted so far, oldest first.
        calls: how many calls to the sending method came in, accepted or not.
        faults: what goes wrong with the next sending calls.
        pace_s: how long a sending call takes before the message is accepted, and again before the answer leaves.
    """

    def __init__(self) -> None:
        self.received: list[RecordT] = []
        self.calls = 0
        self.pace_s = 0.0
        self.faults = FaultScript()
        self.on_received: Callable[[RecordT], None] | None = None
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        """Address of the server, without a trailing slash."""
        return f"http://127.0.0.1:{self._port}"

    def routes(self) -> list[web.RouteDef]:
        """The routes of the provider."""
        raise NotImplementedError

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 lets the system choose."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_GRACE_S, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, let hanging calls go and close every connection."""
        self._released.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        """Start on a port that the system chooses."""
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop."""
        await self.stop()

    def take_fault(self) -> Fault | None:
        """Count a sending call and take the fault scripted for it."""
        self.calls += 1
        return self.faults.take()

    def accept(self, record: RecordT) -> None:
        """Keep an accepted message and tell the listener."""
        self.received.append(record)
        if self.on_received is not None:
            self.on_received(record)

    async def interrupt(self, request: web.Request, fault: Fault | None, *, accepted: bool) -> None:
        """Take the time that a call takes; drop the connection or hang, if the fault says so at this point.

        Raises:
            web.HTTPServiceUnavailable: after the connection was closed, to end the handler; nobody reads it.
        """
        if self.pace_s:
            await asyncio.sleep(self.pace_s)
        if fault is None or fault.after_accept is not accepted or not (fault.drops or fault.hangs):
            return
        if fault.hangs:
            await self._released.wait()
        if request.transport is not None:
            request.transport.close()
        raise web.HTTPServiceUnavailable
