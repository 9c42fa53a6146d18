"""Joins described operations to aiohttp, which serves every request that the direct lane does not."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from aisops_core.api import openapi
from aisops_core.api.exchange import Authenticate, BodyIncomplete, Incoming, body_too_large, in_time, perform
from aisops_core.api.operation import Handler, Operation, operations_of

ROOT = "/api/v1"
Routes = Sequence[tuple[Operation, Handler]]


def routes_of(endpoints: Sequence[object]) -> Routes:
    """Return every operation of these endpoints with its handler."""
    return [pair for part in endpoints for pair in operations_of(part)]


async def _octets(request: web.Request, most: int) -> bytes:
    """Read the body, whatever length was announced."""
    data = bytearray()
    try:
        if (request.content_length or 0) <= most:
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > most:
                    break
            else:
                return bytes(data)
    except (ConnectionError, web.RequestPayloadError):  # the caller hung up, or its chunks are not chunks
        raise BodyIncomplete from None
    raise body_too_large(most)


def incoming_of(request: web.Request) -> Incoming:
    """Return what there is to know of a request."""
    return Incoming(
        path=dict(request.match_info),
        query=list(request.query.items()),
        content_type=request.content_type,
        header=lambda name: request.headers.getall(name, []),
        body=lambda most: in_time(_octets(request, most)),
    )


def _adapt(
    operation: Operation, handler: Handler, authenticate: Authenticate
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        answer = await perform(incoming_of(request), operation, handler, authenticate)
        return web.Response(
            status=answer.status, body=answer.body, content_type=answer.content_type, headers=answer.headers
        )

    return answer


def mount(app: web.Application, routes: Routes, authenticate: Authenticate, version: str) -> None:
    """Add every operation to `app` under `ROOT`, and their OpenAPI document at `ROOT/openapi.json`."""
    for operation, handler in routes:
        app.router.add_route(
            operation.method, ROOT + operation.path, _adapt(operation, handler, authenticate), name=operation.name
        )
    document = json.dumps(openapi.describe([operation for operation, _ in routes], ROOT, version)).encode()

    async def serve_document(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    app.router.add_route("GET", f"{ROOT}/openapi.json", serve_document)
