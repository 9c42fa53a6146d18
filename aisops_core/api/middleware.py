"""What happens around every request: an id for the logs, problem documents for errors, security headers, figures."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from aisops_core.api.metrics import Metrics
from aisops_core.api.problems import as_problem, internal

log = structlog.get_logger("aisops_core.api")

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "aisops-core",
}
HSTS = "max-age=31536000"


def trace_id_of(request: web.Request) -> str:
    """Return the caller's W3C trace id (32 hex digits), or a new random one."""
    found = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return found.group(1) if found else uuid.uuid4().hex


def route_of(request: web.Request) -> str:
    """Return the route's pattern, never the path itself, so that the label values of metrics stay few."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"


async def _answer(request: web.Request, handler: Handler, trace_id: str) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        problem = as_problem(error) or internal()
    except Exception as error:  # the last line of defence: nothing of it may reach the caller
        problem = as_problem(error) or internal()
        if problem.status == 503:
            log.warning("request put off", code=problem.code, trace_id=trace_id, route=route_of(request))
        if problem.status == 500:
            log.exception("request failed", trace_id=trace_id, method=request.method, route=route_of(request))
    return problem.response(trace_id)


def build_middleware(metrics: Metrics) -> Middleware:
    """Return the one middleware of the API."""

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        trace_id = trace_id_of(request)
        begun = time.perf_counter()
        response = await _answer(request, handler, trace_id)
        response.headers["X-Trace-Id"] = trace_id
        metrics.request(request.method, route_of(request), response.status, time.perf_counter() - begun)
        return response

    return around


def build_signal(*, tls: bool) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return the hook that puts the security headers on every answer, errors included."""

    async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
        for name, value in SECURITY_HEADERS.items():
            response.headers[name] = value
        if tls:
            response.headers["Strict-Transport-Security"] = HSTS

    return add_headers
