"""aiohttp, reduced to what a sidecar needs: raw requests in, JSON answers out, even for bytes that are not HTTP."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from aisops_plugin_sdk import batch
from aisops_plugin_sdk.secret import Redactor
from aisops_plugin_sdk.server.answers import Answer, Refusal, Stream, failure

MAX_HEADER_BYTES = 16 * 1024
CLOSE_TIMEOUT_S = 1.0
BACKLOG = 1024
Handle = Callable[[web.BaseRequest], Awaitable[Answer | Stream]]
_log = logging.getLogger("aisops_plugin_sdk.server")


class _JsonRequestHandler(RequestHandler):
    """Answers what aiohttp itself refuses (malformed HTTP, oversized headers) in JSON and without a traceback."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Build the answer; the connection is closed after it."""
        if status >= 500:
            _log.error("request failed: %s", type(exc).__name__)
            error = Refusal(status, "internal_error", type(exc).__name__)
        else:
            error = Refusal(status, "malformed_http", "the request is not acceptable HTTP")
        response = _response(failure(error, Redactor()))
        response.force_close()
        return response


class _JsonServer(web.Server):
    """Makes our request handler for every connection."""

    def __call__(self) -> RequestHandler:
        return _JsonRequestHandler(self, loop=self._loop, **self._kwargs)


class Transport:
    """Listens on loopback and hands every request to one function."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._runner: web.ServerRunner | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen. Port 0 lets the system choose.

        Returns:
            The port.

        Raises:
            OSError: the address is in use.
        """
        server = _JsonServer(
            self._respond,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            lingering_time=CLOSE_TIMEOUT_S,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=CLOSE_TIMEOUT_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, reuse_address=True, backlog=BACKLOG).start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening; answers being written get one second."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Write the answer of our function."""
        answer = await self._handle(request)
        if isinstance(answer, Stream):
            return await _stream(request, answer)
        return _response(answer)


async def _stream(request: web.BaseRequest, answer: Stream) -> web.StreamResponse:
    """Write an answer piece by piece, as its pieces come."""
    response = web.StreamResponse(headers={"Content-Type": batch.CONTENT_TYPE, "Cache-Control": "no-store"})
    with contextlib.suppress(ConnectionError):  # whoever asked has gone; what was asked for goes on
        await response.prepare(request)
        async for piece in answer.pieces:
            await response.write(piece)
        await response.write_eof()
    return response


def _response(answer: Answer) -> web.Response:
    """Write an answer as aiohttp's response."""
    headers: dict[str, Any] = {"Content-Type": "application/json", "Cache-Control": "no-store", **dict(answer.headers)}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
