"""Addresses for the machinery around Core: is it alive, may it have traffic, what are its figures. No token needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from aisops_core.api.metrics import Metrics
from aisops_core.errors import CoreError

CHECK_TIMEOUT_S = 2.0

Check = Callable[[], Awaitable[str | None]]
"""Returns None when the part is ready, else a short reason without internals."""


class Readiness:
    """Whether Core may be sent traffic: every check passes and no stop has begun."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._stopping = False

    def stop(self) -> None:
        """Say not ready from now on, so that a load balancer turns away before the doors close."""
        self._stopping = True

    async def report(self) -> dict[str, str]:
        """Return each check's name with `ok` or its reason."""
        result = {"stopping": "Core is stopping"} if self._stopping else {}
        for name, check in self._checks.items():
            result[name] = await self._run(check)
        return result

    @staticmethod
    async def _run(check: Check) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                return await check() or "ok"
        except TimeoutError:
            return "no answer in time"
        except CoreError as error:
            return error.code


def mount(app: web.Application, readiness: Readiness, metrics: Metrics) -> None:
    """Add /healthz, /readyz and /metrics to `app`."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(body=b'{"status":"ok"}', content_type="application/json")

    async def readyz(_request: web.Request) -> web.Response:
        checks = await readiness.report()
        ready = all(value == "ok" for value in checks.values())
        document = {"status": "ready" if ready else "not_ready", "checks": checks}
        status = 200 if ready else 503
        return web.Response(body=json.dumps(document).encode(), status=status, content_type="application/json")

    async def serve_metrics(_request: web.Request) -> web.Response:
        body, content_type = await metrics.exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", serve_metrics)
