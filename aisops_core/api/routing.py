"""Joins described operations to aiohttp, which serves every request that the direct lane does not."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from aiohttp import web

from aisops_core.api import openapi
from aisops_core.api.exchange import Authenticate, BodyIncomplete, Incoming, body_too_large, in_time, perform
from aisops_core.api.operation import BODY_BYTES, Handler, Operation, operations_of
from aisops_core.api.room import Room

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


def _weight(request: web.Request, most: int) -> int:
    """The octets a large request takes room for: those announced, or as many as there may be; 0 for any other."""
    announced = most if request.content_length is None else request.content_length
    return announced if BODY_BYTES < announced <= most else 0


def incoming_of(request: web.Request, room: Room, held: AsyncExitStack) -> Incoming:
    """Return what there is to know of a request; `held` keeps the room that a large body takes."""

    async def body(most: int) -> bytes:
        if weight := _weight(request, most):
            await held.enter_async_context(room.take(weight))
        return await in_time(_octets(request, most))

    return Incoming(
        path=dict(request.match_info),
        query=list(request.query.items()),
        content_type=request.content_type,
        header=lambda name: request.headers.getall(name, []),
        body=body,
    )


def _adapt(
    operation: Operation, handler: Handler, authenticate: Authenticate, room: Room
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        async with AsyncExitStack() as held:
            answer = await perform(incoming_of(request, room, held), operation, handler, authenticate)
        return web.Response(
            status=answer.status, body=answer.body, content_type=answer.content_type, headers=answer.headers
        )

    return answer


def mount(app: web.Application, routes: Routes, authenticate: Authenticate, version: str) -> None:
    """Add every operation to `app` under `ROOT`, and their OpenAPI document at `ROOT/openapi.json`."""
    room = Room()
    for operation, handler in routes:
        app.router.add_route(
            operation.method, ROOT + operation.path, _adapt(operation, handler, authenticate, room), name=operation.name
        )
    document = json.dumps(openapi.describe([operation for operation, _ in routes], ROOT, version)).encode()

    async def serve_document(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    app.router.add_route("GET", f"{ROOT}/openapi.json", serve_document)
