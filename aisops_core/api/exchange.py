"""One request answered, whatever server read it: authenticate, authorise, validate, call, and give the answer's parts.

Two servers stand in front of this: aiohttp's for everything, and the direct lane for the plain requests that make up
nearly all the traffic. What a request means is decided here, once.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic_core import PydanticSerializationError

from aisops_core.api.operation import RANK, Call, Document, Handler, Operation, Query, Reply
from aisops_core.api.problems import CONTENT_TYPE as PROBLEM
from aisops_core.api.problems import Problem, as_problem, internal
from aisops_core.api.room import aside
from aisops_core.dispatch import strict_json
from aisops_core.errors import Unauthenticated
from aisops_core.tenants.principal import Principal
from aisops_protocol import limits

BODY_TIMEOUT_S = 30.0
JSON = "application/json"
log = structlog.get_logger("aisops_core.api")

_ID = re.compile(limits.ID_PATTERN)
_BEARER = re.compile(r"[Bb]earer +([\x21-\x7e]{1,256})")
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

Authenticate = Callable[[str], Awaitable[Principal]]


class BodyIncomplete(Exception):
    """The body ended before it was complete."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as a server has read it.

    Attributes:
        path: Values of the `{name}` parts of the operation's path.
        query: Keys and values of the query string, in order.
        content_type: Media type of the body without parameters, lower case.
        header: Gives every value of a header.
        body: Reads the body of at most so many bytes; raises Problem when it is larger, BodyIncomplete, TimeoutError.
    """

    path: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    content_type: str
    header: Callable[[str], Sequence[str]]
    body: Callable[[int], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An answer to be sent. `headers` are those of this answer alone; `cause` names a problem's code for figures."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class _TraceIds:
    """Random ids of 32 hex digits, drawn from the system many at a time because each draw costs a system call."""

    def __init__(self) -> None:
        self._digits, self._at = "", 0

    def draw(self) -> str:
        """A new id."""
        if self._at >= len(self._digits):
            self._digits, self._at = os.urandom(4096).hex(), 0
        self._at += 32
        return self._digits[self._at - 32 : self._at]


new_trace_id = _TraceIds().draw


def trace_id_of(traceparent: str) -> str:
    """Return the caller's W3C trace id (32 hex digits), or a new random one."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return found.group(1) if found else new_trace_id()


def token_of(values: Sequence[str]) -> str:
    """Return the token in the values of Authorization. Raises Unauthenticated, with the same words for every cause."""
    if len(values) != 1 or (found := _BEARER.fullmatch(values[0])) is None:
        raise Unauthenticated
    return found.group(1)


async def perform(incoming: Incoming, operation: Operation, handler: Handler, authenticate: Authenticate) -> Outgoing:
    """Answer a request. Raises Problem and whatever `refuse` makes one of."""
    principal = await authenticate(token_of(incoming.header("Authorization")))
    _authorise(principal, operation)
    path = _path(incoming.path)
    data = await _octets(incoming, operation)
    call: Call[Any, Any] = Call(
        principal=principal,
        path=path,
        body=await aside(len(data), lambda: _body(data, operation)),
        query=read_query(incoming.query, operation.query),
        headers=_headers(incoming, operation),
        octets=len(data),
    )
    reply = await handler(call)
    if not isinstance(reply, Reply):
        reply = Reply(reply)
    return Outgoing(reply.status or operation.status, encode(reply.document), JSON, reply.headers)


def problem_of(error: Exception, trace_id: str, method: str, route: str) -> Problem:
    """Return the problem to answer an error with; what nobody foresaw is logged, and nothing of it is told."""
    problem = as_problem(error) or internal()
    if problem.status == 503:
        log.warning("request put off", code=problem.code, trace_id=trace_id, route=route)
    if problem.status == 500:
        log.error("request failed", trace_id=trace_id, method=method, route=route, exc_info=error)
    return problem


def refuse(problem: Problem, trace_id: str) -> Outgoing:
    """Return the answer that tells a problem."""
    # ASCII on purpose: a text that is not Unicode can still be shown, and no reader can misjudge the charset.
    body = json.dumps(problem.document(trace_id).model_dump()).encode()
    return Outgoing(problem.status, body, PROBLEM, problem.headers)


def _authorise(principal: Principal, operation: Operation) -> None:
    if RANK.get(principal.role, 0) < RANK[operation.role]:
        raise Problem(
            403,
            "forbidden",
            f"This needs the role {operation.role}; this token has the role {principal.role}.",
            advice="Use a token with that role (`aisops-core token create` makes one).",
        )


def _path(path: Mapping[str, str]) -> Mapping[str, str]:
    if not all(_ID.fullmatch(value) for value in path.values()):
        raise Problem(404, "not_found", "There is nothing of that name: ids are letters, digits and . _ : - only.")
    return path


def read_query(query: Sequence[tuple[str, str]], model: type[Query] | None) -> Any:
    """Return the query string as `model`. Raises Problem when a key comes twice or nothing reads the query."""
    values = dict(query)
    if len(values) != len(query):
        raise Problem(400, "repeated_parameter", "A query parameter is given more than once.")
    if model is None:
        if values:
            raise Problem(400, "unknown_parameter", "This address takes no query parameters.")
        return None
    return model.model_validate(values)


def body_too_large(most: int) -> Problem:
    """Return the problem for a body of more than `most` bytes."""
    return Problem(
        413, "body_too_large", f"The body has more than {most} bytes.", advice="Pass large data by reference."
    )


def body_too_late() -> Problem:
    """Return the problem for a body that does not come."""
    return Problem(408, "body_timeout", f"The body did not come within {BODY_TIMEOUT_S:.0f} s.")


async def _octets(incoming: Incoming, operation: Operation) -> bytes:
    if operation.body is None:
        return b""
    if any(value.lower() != "identity" for value in incoming.header("Content-Encoding")):
        raise Problem(415, "unsupported_encoding", "The body must not be compressed.")
    if incoming.content_type != JSON:
        raise Problem(
            415,
            "unsupported_media_type",
            "The body must be JSON.",
            advice="Send the header `Content-Type: application/json`.",
        )
    try:
        return await incoming.body(operation.body_bytes)
    except BodyIncomplete:
        raise Problem(400, "body_incomplete", "The body ended before it was complete.") from None
    except TimeoutError:
        raise body_too_late() from None


def _body(data: bytes, operation: Operation) -> Any:
    if operation.body is None:
        return None
    try:
        value = strict_json.loads(data)
    except strict_json.NotStrictJson as error:
        raise Problem(400, "malformed_json", f"The body is not acceptable JSON: {error}.") from None
    return operation.body.model_validate(value)


def _headers(incoming: Incoming, operation: Operation) -> dict[str, str | None]:
    values: dict[str, str | None] = {}
    for header in operation.headers:
        found = incoming.header(header.name)
        if len(found) > 1 or (found and header.matches(found[0]) is None):
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


async def in_time(reading: Awaitable[bytes]) -> bytes:
    """Wait for a body as long as it may take. Raises TimeoutError."""
    async with asyncio.timeout(BODY_TIMEOUT_S):
        return await reading
