"""The control door of the stand-ins: what was received, and faults for the next calls. Loopback only."""

from __future__ import annotations

from typing import Self

from aiohttp import web

from demo.providers.faults import Fault
from demo.providers.host import ProviderHost

MAX_PACE_S = 60.0


class ControlServer:
    """For other processes: what came, faults for the next calls, and how long calls take.

    `GET /received` (with `?text=…` what contains that), `/counts`, `/duplicates`;
    `POST /faults/{provider}` (a JSON array of faults), `/pace` (seconds).
    """

    def __init__(self, host: ProviderHost) -> None:
        self._host = host
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen on a loopback port that the system chooses."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/received", self._received),
                web.get("/counts", self._counts),
                web.get("/duplicates", self._duplicates),
                web.post("/faults/{provider}", self._faults),
                web.post("/pace", self._pace),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _received(self, request: web.Request) -> web.Response:
        return web.json_response(self._host.received(request.query.get("text", "")))

    async def _counts(self, _request: web.Request) -> web.Response:
        return web.json_response(self._host.counts())

    async def _duplicates(self, _request: web.Request) -> web.Response:
        return web.json_response(self._host.duplicates())

    async def _faults(self, request: web.Request) -> web.Response:
        try:
            faults = [Fault.from_document(item) for item in await request.json()]
            self._host.add_faults(request.match_info["provider"], faults)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            return web.json_response({"ok": False, "error": str(error)}, status=400)
        return web.json_response({"ok": True, "scripted": len(faults)})

    async def _pace(self, request: web.Request) -> web.Response:
        try:
            seconds = float(await request.json())
            if not 0 <= seconds <= MAX_PACE_S:
                raise ValueError(f"between 0 and {MAX_PACE_S} seconds")
        except (ValueError, TypeError) as error:
            return web.json_response({"ok": False, "error": str(error)}, status=400)
        self._host.set_pace(seconds)
        return web.json_response({"ok": True})
