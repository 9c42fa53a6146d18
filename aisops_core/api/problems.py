"""How an error looks to an HTTP caller: the one table from error class to status, and RFC 9457 problem documents.

Nothing the caller sent is echoed, except names that were checked against a narrow alphabet first. Nothing of an
unexpected error is shown; it is in the log under the same `trace_id`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from aisops_core import errors

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:aisopsflow:problem:"
MAX_ERRORS = 32


class FieldProblem(BaseModel):
    """One thing wrong with one part of the request; `pointer` is a JSON pointer into the body ("" is the whole)."""

    pointer: str
    detail: str


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 describes it. `code` is stable; `advice` says what to do next."""

    model_config = ConfigDict(title="Problem")

    type: str
    title: str
    status: int
    code: str
    detail: str
    advice: str = ""
    errors: list[FieldProblem] = []
    trace_id: str = ""


class Problem(Exception):
    """Raised inside this door to answer with a problem document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        advice: str = "",
        fields: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.detail, self.advice = status, code, detail, advice
        self.fields = list(fields)[:MAX_ERRORS]
        self.headers = dict(headers or {})

    def document(self, trace_id: str = "") -> ProblemDocument:
        """Return the problem document."""
        return ProblemDocument(
            type=TYPE_PREFIX + self.code,
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            code=self.code,
            detail=self.detail,
            advice=self.advice,
            errors=self.fields,
            trace_id=trace_id,
        )


STATUS: Mapping[type[errors.CoreError], int] = {
    # The first class in an error's own order of inheritance that stands here decides.
    errors.InputTooLarge: 413,
    errors.InvalidCursor: 400,
    errors.InvalidRequest: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.IdempotencyMismatch: 422,
    errors.Unauthenticated: 401,
    errors.Denied: 403,
    errors.IllegalTransition: 409,
    errors.Fenced: 409,
    errors.SessionRefused: 409,
    errors.Unavailable: 503,
}


def from_core_error(error: errors.CoreError) -> Problem:
    """Return the problem for an error raised on purpose; an error without an entry in the table is internal (500)."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if status is None:
        return internal()
    fields: list[FieldProblem] = []
    if isinstance(error, errors.InvalidRequest):
        under = "/input" if isinstance(error, errors.InputInvalid) else ""
        fields = [FieldProblem(pointer=under + item.path, detail=item.message) for item in error.errors]
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif status == 503:
        headers["Retry-After"] = "1"
    return Problem(status, error.code, error.message, advice=error.advice, fields=fields, headers=headers)


def from_validation(error: ValidationError) -> Problem:
    """Return the problem for a document that does not fit its model, naming each field and echoing no value."""
    fields = [
        FieldProblem(pointer=_pointer(item["loc"]), detail=item["msg"].removeprefix("Value error, "))
        for item in error.errors(include_url=False, include_input=False, include_context=False)[:MAX_ERRORS]
    ]
    first = fields[0]
    where = f"{first.pointer}: " if first.pointer else ""
    return Problem(422, "invalid_request", f"The request is not valid. {where}{first.detail}.", fields=fields)


def _pointer(location: tuple[int | str, ...]) -> str:
    # A key of the caller's may be any text; keep what is printable ASCII and short, so that the answer stays readable.
    parts = ("".join(char for char in str(part)[:64] if char.isprintable() and char.isascii()) for part in location)
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


_HTTP_CODES: Mapping[int, tuple[str, str]] = {
    404: ("no_such_address", "The API's addresses are listed in /api/v1/openapi.json."),
    405: ("method_not_allowed", "The Allow header names the methods of this address."),
    413: ("body_too_large", "Pass large data by reference."),
}


def from_http(error: web.HTTPException) -> Problem:
    """Return the problem for an error of the HTTP layer itself (no such address, wrong method, body too large)."""
    code, advice = _HTTP_CODES.get(error.status, (error.reason.lower().replace(" ", "_"), ""))
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(error.status, code, f"{error.reason}.", advice=advice, headers=headers)


def internal() -> Problem:
    """Return the problem for everything unexpected: a code, no cause."""
    return Problem(
        500,
        "internal_error",
        "Core failed to answer; the cause is in its log under this trace_id.",
        advice="Try again; if it stays, report the trace_id to the operator of Core.",
    )


def not_http() -> Problem:
    """Return the problem for octets that are not a request HTTP knows, or whose headers are too large."""
    return Problem(400, "malformed_request", "This is not an HTTP request that can be read.")


def as_problem(error: Exception) -> Problem | None:
    """Return the problem for an expected error of any kind, or None for one nobody foresaw."""
    found: Any = None
    if isinstance(error, Problem):
        found = error
    elif isinstance(error, errors.CoreError):
        found = from_core_error(error)
    elif isinstance(error, ValidationError):
        found = from_validation(error)
    elif isinstance(error, web.HTTPException) and error.status >= 400:
        found = from_http(error)
    return found if isinstance(found, Problem) else None
