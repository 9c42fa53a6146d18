"""The outside world of the runner under test: an HTTP endpoint on loopback that counts what is done to it.

docs/delivery-conformance.md specifies the protocol. Each effect has an address of its own; a job carries it in its
input, and the test capability posts to it with the job's Idempotency-Key. Like a good provider, the endpoint does a
thing once per key and gives the same answer again.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field

from aiohttp import web

from aisops_protocol.conformance.pulse import Pulse

__all__ = ["KEY_HEADER", "Call", "Effect", "Effects"]

KEY_HEADER = "Idempotency-Key"
DONE = 200
_MOST_OCTETS = 4 * 1024 * 1024


@dataclass(slots=True)
class Call:
    """One call of an effect: under which key, when (monotonic seconds), and how it ended."""

    key: str
    at: float
    ended: str = ""


@dataclass
class Effect:
    """Something a job may do, and every attempt to do it.

    Attributes:
        name: Unguessable; the last part of its address.
        url: Where to post.
        calls: Every call, in order.
        pad: Octets that fill up the answer.
        status: What it answers; 200 does it, anything else does not.
    """

    name: str
    url: str
    pulse: Pulse
    pad: int = 0
    status: int = 200
    calls: list[Call] = field(default_factory=list)
    _free: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def keys(self) -> set[str]:
        """The different keys it was called with: so many times it was done."""
        return {call.key for call in self.calls}

    @property
    def under_way(self) -> int:
        """Calls that have not ended."""
        return sum(1 for call in self.calls if not call.ended)

    def hold(self) -> None:
        """Answer no call until `release`."""
        self._free.clear()

    def release(self) -> None:
        """Answer the calls that wait, and all later ones."""
        self._free.set()

    def answer(self) -> bytes:
        """The document a call is answered with, which must become the job's output as it is."""
        return json.dumps({"effect": self.name, "pad": "x" * self.pad}, separators=(",", ":")).encode()

    async def called(self, key: str) -> web.Response:
        """Take one call and answer it when it may be answered."""
        call = Call(key, time.monotonic())
        self.calls.append(call)
        self.pulse.beat()
        try:
            await self._free.wait()
            call.ended = "answered"
        except asyncio.CancelledError:
            call.ended = "dropped"
            raise
        finally:
            self.pulse.beat()
        body = self.answer() if self.status == DONE else b'{"error":"not now"}'
        return web.Response(status=self.status, body=body, content_type="application/json")


class Effects:
    """Serves effects.

    Args:
        pulse: Beaten at every call.
        address: `HOST:PORT` to listen on.
    """

    def __init__(self, pulse: Pulse, *, address: str) -> None:
        self._pulse, self._address = pulse, address
        self._effects: dict[str, Effect] = {}
        self._runner: web.AppRunner | None = None
        self._base = ""

    async def start(self) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        app = web.Application(client_max_size=_MOST_OCTETS)
        app.router.add_post("/effects/{name}", self._post)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        host, _, port = self._address.rpartition(":")
        await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        self._base = f"http://{host}:{self._runner.addresses[0][1]}/effects"

    async def stop(self) -> None:
        """Stop listening; what is held is dropped."""
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()

    def release(self) -> None:
        """Answer everything that waits."""
        for effect in self._effects.values():
            effect.release()

    def make(self, *, pad: int = 0, status: int = 200, held: bool = False) -> Effect:
        """A new effect; with `held`, its calls wait for `release`."""
        name = secrets.token_hex(8)
        effect = Effect(name, f"{self._base}/{name}", self._pulse, pad, status)
        if not held:
            effect.release()
        self._effects[name] = effect
        return effect

    async def _post(self, request: web.Request) -> web.Response:
        effect = self._effects.get(request.match_info["name"])
        await request.read()
        if effect is None:
            return web.json_response({"error": "no such effect"}, status=404)
        return await effect.called(request.headers.get(KEY_HEADER, ""))
