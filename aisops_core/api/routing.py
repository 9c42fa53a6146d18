"""Joins described operations to aiohttp: every request is authenticated, authorised, validated, called, answered."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from pydantic_core import PydanticSerializationError

from aisops_core.api import openapi
from aisops_core.api.operation import RANK, Call, Document, Handler, Operation, Query, Reply, operations_of
from aisops_core.api.problems import Problem
from aisops_core.dispatch import strict_json
from aisops_core.errors import Unauthenticated
from aisops_core.tenants.principal import Principal
from aisops_protocol import limits

ROOT = "/api/v1"
BODY_TIMEOUT_S = 30.0
_ID = re.compile(limits.ID_PATTERN)
_BEARER = re.compile(r"[Bb]earer +([\x21-\x7e]{1,256})")

Authenticate = Callable[[str], Awaitable[Principal]]


async def principal_of(request: web.Request, authenticate: Authenticate) -> Principal:
    """Return who sends the request. Raises Unauthenticated, with the same words for every cause."""
    values = request.headers.getall("Authorization", [])
    if len(values) != 1 or (found := _BEARER.fullmatch(values[0])) is None:
        raise Unauthenticated
    return await authenticate(found.group(1))


def _authorise(principal: Principal, operation: Operation) -> None:
    if RANK.get(principal.role, 0) < RANK[operation.role]:
        raise Problem(
            403,
            "forbidden",
            f"This needs the role {operation.role}; this token has the role {principal.role}.",
            advice="Use a token with that role (`aisops-core token create` makes one).",
        )


def _path(request: web.Request) -> Mapping[str, str]:
    path = dict(request.match_info)
    if not all(_ID.fullmatch(value) for value in path.values()):
        raise Problem(404, "not_found", "There is nothing of that name: ids are letters, digits and . _ : - only.")
    return path


def read_query(request: web.Request, model: type[Query] | None) -> Any:
    """Return the query string as `model`. Raises Problem when a key comes twice or nothing reads the query."""
    query = request.query
    if len(query) != len(set(query)):
        raise Problem(400, "repeated_parameter", "A query parameter is given more than once.")
    if model is None:
        if query:
            raise Problem(400, "unknown_parameter", "This address takes no query parameters.")
        return None
    return model.model_validate(dict(query))


async def _octets(request: web.Request, most: int) -> bytes:
    """Read the body, whatever length was announced. Raises Problem when it is longer than `most`."""
    data = bytearray()
    if (request.content_length or 0) <= most:
        async for chunk in request.content.iter_any():
            data += chunk
            if len(data) > most:
                break
        else:
            return bytes(data)
    raise Problem(
        413, "body_too_large", f"The body has more than {most} bytes.", advice="Pass large data by reference."
    )


async def _body(request: web.Request, operation: Operation) -> Any:
    if operation.body is None:
        return None
    if request.content_type != "application/json":
        raise Problem(
            415,
            "unsupported_media_type",
            "The body must be JSON.",
            advice="Send the header `Content-Type: application/json`.",
        )
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            data = await _octets(request, operation.body_bytes)
        value = strict_json.loads(data)
    except (ConnectionError, web.RequestPayloadError):  # the caller hung up, or its chunks are not chunks
        raise Problem(400, "body_incomplete", "The body ended before it was complete.") from None
    except TimeoutError:
        raise Problem(408, "body_timeout", f"The body did not come within {BODY_TIMEOUT_S:.0f} s.") from None
    except strict_json.NotStrictJson as error:
        raise Problem(400, "malformed_json", f"The body is not acceptable JSON: {error}.") from None
    return operation.body.model_validate(value)


def _headers(request: web.Request, operation: Operation) -> dict[str, str | None]:
    values: dict[str, str | None] = {}
    for header in operation.headers:
        found = request.headers.getall(header.name, [])
        if len(found) > 1 or (found and re.fullmatch(header.pattern, found[0]) is None):
            raise Problem(400, "invalid_header", f"The header {header.name} is not valid: {header.description}")
        values[header.name] = found[0] if found else None
    return values


def encode(document: Document | str) -> bytes:
    """Return a document as JSON. A Runner's text that is not Unicode (a lone surrogate) goes out escaped."""
    if isinstance(document, str):
        return document.encode()
    try:
        return document.model_dump_json().encode()
    except (PydanticSerializationError, UnicodeEncodeError):
        return json.dumps(document.model_dump()).encode()


def _adapt(
    operation: Operation, handler: Handler, authenticate: Authenticate
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        principal = await principal_of(request, authenticate)
        _authorise(principal, operation)
        call: Call[Any, Any] = Call(
            principal=principal,
            path=_path(request),
            body=await _body(request, operation),
            query=read_query(request, operation.query),
            headers=_headers(request, operation),
        )
        reply = await handler(call)
        if not isinstance(reply, Reply):
            reply = Reply(reply)
        return web.Response(
            status=reply.status or operation.status,
            body=encode(reply.document),
            content_type="application/json",
            headers=reply.headers,
        )

    return answer


def mount(app: web.Application, endpoints: Sequence[object], authenticate: Authenticate, version: str) -> None:
    """Add every operation of `endpoints` to `app` under `ROOT`, and their OpenAPI document at `ROOT/openapi.json`."""
    described = [pair for part in endpoints for pair in operations_of(part)]
    for operation, handler in described:
        app.router.add_route(
            operation.method, ROOT + operation.path, _adapt(operation, handler, authenticate), name=operation.name
        )
    document = json.dumps(openapi.describe([operation for operation, _ in described], ROOT, version)).encode()

    async def serve_document(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    app.router.add_route("GET", f"{ROOT}/openapi.json", serve_document)
