"""One HTTP operation described once: the route, who may call it, its models, and so its OpenAPI entry.

class JobEndpoints:
    @op("POST", "/jobs", role="operator", body=SubmitBody, out=JobDocument, status=202)
    async def submit_job(self, call: Call[SubmitBody, None]) -> Reply: ...
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from aisops_core.tenants.principal import Principal
from aisops_protocol import limits

BODY_BYTES = limits.JOB_INPUT_BYTES + 64 * 1024
"""A job's input and room for what stands around it."""
Role = Literal["viewer", "operator", "admin"]
RANK: Mapping[str, int] = {"viewer": 1, "operator": 2, "admin": 3}


class Body(BaseModel):
    """Base of request bodies: unknown keys are refused, values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Query(BaseModel):
    """Base of query strings: unknown keys are refused; texts become the numbers they spell."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Document(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(frozen=True)


B = TypeVar("B", bound=Body | None)
Q = TypeVar("Q", bound=Query | None)


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """One authenticated request, already validated.

    `headers` are those the operation declares, None when absent; `octets` is the announced size of the body.
    """

    principal: Principal
    path: Mapping[str, str]
    body: B
    query: Q
    headers: Mapping[str, str | None]
    octets: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is not simply the operation's usual status with a document, or whose JSON text is made already."""

    document: Document | str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Header:
    """A request header an operation reads: matched whole against `pattern`, or refused with 400."""

    name: str
    pattern: str
    description: str

    def matches(self, value: str) -> re.Match[str] | None:
        """Match a value, whole."""
        return re.fullmatch(self.pattern, value)


@dataclass(frozen=True, slots=True)
class Operation:
    """What is known of one operation besides its code."""

    method: str
    path: str
    role: Role
    name: str
    summary: str
    out: type[Document]
    body: type[Body] | None = None
    query: type[Query] | None = None
    status: int = 200
    headers: tuple[Header, ...] = ()
    problems: tuple[int, ...] = ()
    body_bytes: int = BODY_BYTES


Handler = Callable[[Call[Any, Any]], Awaitable[Document | Reply]]
F = TypeVar("F", bound=Callable[..., Awaitable[Document | Reply]])
_operations: dict[Callable[..., Any], Operation] = {}


def op(
    method: str,
    path: str,
    *,
    role: Role,
    out: type[Document],
    body: type[Body] | None = None,
    query: type[Query] | None = None,
    status: int = 200,
    headers: tuple[Header, ...] = (),
    problems: tuple[int, ...] = (),
    body_bytes: int = BODY_BYTES,
) -> Callable[[F], F]:
    """Describe a method of an endpoint class as the operation `method path` (path under the API's root).

    Args:
        method: HTTP method.
        path: Path with `{name}` parts.
        role: Least role that may call it.
        out: Model of the answer.
        body: Model of the request body, if it has one.
        query: Model of the query string; without one every query key is refused.
        status: Usual status of the answer.
        headers: Request headers the operation reads.
        problems: Statuses of problem documents that only this operation gives.
        body_bytes: Largest request body.
    """

    def describe(handler: F) -> F:
        summary = (handler.__doc__ or "").strip().split("\n", 1)[0]
        _operations[handler] = Operation(
            method, path, role, handler.__name__, summary, out, body, query, status, headers, problems, body_bytes
        )
        return handler

    return describe


def operations_of(endpoints: object) -> list[tuple[Operation, Handler]]:
    """Return every operation of an endpoint object with its bound handler, in the order they are written."""
    return [
        (_operations[member], getattr(endpoints, name))
        for name, member in vars(type(endpoints)).items()
        if callable(member) and member in _operations
    ]
