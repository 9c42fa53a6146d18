"""The HTTP server: builds the application from its parts, listens, and stops in order."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
import uuid

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from aisops_core.api import health, routing
from aisops_core.api.direct import ACCESS, HEADER_BYTES, KEEPALIVE_S, DirectConnection, DirectLane
from aisops_core.api.exchange import SECURITY_HEADERS, Authenticate
from aisops_core.api.health import Readiness
from aisops_core.api.metrics import Metrics
from aisops_core.api.middleware import build_middleware, build_signal, response_of, route_of
from aisops_core.api.problems import internal, not_http

STOP_S = 3.0
BACKLOG = 512

log = structlog.get_logger(ACCESS)


class AccessLogger(AbstractAccessLogger):
    """One structured line a request: the route's pattern and no query, because ids belong in no access log."""

    @property
    def enabled(self) -> bool:
        """Whether the line would be written at all: at the level debug only, because it costs more than a small job."""
        return logging.getLogger(ACCESS).isEnabledFor(logging.DEBUG)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, request_time: float) -> None:
        """Write the line of one answered request; `request_time` is seconds."""
        route = route_of(request) if isinstance(request, web.Request) else "unmatched"
        log.debug(
            "request",
            method=request.method,
            route=route,
            status=response.status,
            duration_ms=round(request_time * 1000, 1),
            trace_id=response.headers.get("X-Trace-Id", ""),
        )


def build_application(
    routes: routing.Routes,
    authenticate: Authenticate,
    readiness: Readiness,
    metrics: Metrics,
    *,
    version: str,
    tls: bool = False,
) -> web.Application:
    """Return the whole API as one aiohttp application."""
    app = web.Application(middlewares=[build_middleware(metrics)])
    app.on_response_prepare.append(build_signal(tls=tls))
    routing.mount(app, routes, authenticate, version)
    health.mount(app, readiness, metrics)
    return app


class ProblemHandler(web.RequestHandler):
    """A connection that answers what is not HTTP with a problem document, as everything else is answered.

    aiohttp's own answer to that repeats what was sent, and its log entry is a traceback anybody could cause.
    """

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be read; `exc` and `message` stay inside.

        Raises ConnectionError, which closes the connection, when an answer has begun.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is already on its way")
        trace_id = uuid.uuid4().hex
        log.info("not http", status=status, cause=type(exc).__name__, trace_id=trace_id)
        problem = not_http() if status < 500 else internal()
        response = response_of(problem, trace_id)
        response.headers.update(SECURITY_HEADERS)
        response.force_close()
        return response


class ApiServer:
    """Listens for HTTP on one address. Connections begin in the direct lane and go on in `app` when they must."""

    def __init__(
        self,
        app: web.Application,
        lane: DirectLane,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._runner = web.AppRunner(
            app,
            access_log_class=AccessLogger,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            shutdown_timeout=STOP_S,
        )
        self._host, self._requested_port, self._tls = host, port, tls
        self.port = port
        self._listener: asyncio.Server | None = None
        self._lane = lane

    async def start(self) -> None:
        """Listen. Sets `port` to the real one. Raises OSError when the address cannot be had."""
        await self._runner.setup()
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: DirectConnection(self._lane, self._connection),
            self._host,
            self._requested_port,
            ssl=self._tls,
            backlog=BACKLOG,
        )
        self.port = int(self._listener.sockets[0].getsockname()[1])

    def _connection(self) -> web.RequestHandler:
        server = self._runner.server
        if server is None:
            raise RuntimeError("the API server is not set up")
        handler = server()
        handler.__class__ = ProblemHandler  # same layout; aiohttp has no other place to say it
        return handler

    async def stop(self) -> None:
        """Refuse new connections, let requests in progress end (at most 3 s), close."""
        begun = time.monotonic()
        if self._listener is not None:
            self._listener.close()
        await asyncio.gather(self._lane.stop(STOP_S), self._runner.cleanup())
        log.debug("http stopped", duration_s=round(time.monotonic() - begun, 3))


def build_tls(certificate: str, key: str, client_ca: str | None) -> ssl.SSLContext:
    """Return a server context for TLS 1.2 and later. Raises OSError or ssl.SSLError when a file cannot be used.

    A client CA is for Runners' certificates on the gRPC door; HTTP callers prove themselves with their token, so a
    client certificate is checked here when one is sent but none is demanded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
