"""What happens around every request: an id for the logs, problem documents for errors, security headers, figures."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from aisops_core.api.exchange import HSTS, SECURITY_HEADERS, problem_of, refuse, trace_id_of
from aisops_core.api.metrics import Metrics
from aisops_core.api.problems import Problem, as_problem, internal


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
    except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of it may reach the caller
        problem = problem_of(error, trace_id, request.method, route_of(request))
    return response_of(problem, trace_id)


def response_of(problem: Problem, trace_id: str) -> web.Response:
    """Return aiohttp's answer for a problem."""
    answer = refuse(problem, trace_id)
    return web.Response(
        status=answer.status, body=answer.body, content_type=answer.content_type, headers=answer.headers
    )


def build_middleware(metrics: Metrics) -> Middleware:
    """Return the one middleware of the API."""

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        trace_id = trace_id_of(request.headers.get("traceparent", ""))
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
