"""The input of `http.request`: its model (whose JSON Schema Core validates against) and its header rules. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from aisops_runner.errors import PolicyDenied, RunnerError

REQUEST_BYTES = 1024 * 1024
MAX_HEADERS = 64
HEADER_BYTES = 8192

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_REFUSED = frozenset(
    {
        "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect",
        "accept-encoding", "via", "forwarded", "http2-settings",
    }
)  # fmt: skip
_CREDENTIALS = re.compile(r"(?i)^(authorization|cookie|.*(token|secret|api-?key|signature|auth|session|password).*)$")


class InvalidInput(RunnerError):
    """The job's input breaks the schema; nothing left the Runner."""

    code = "invalid_request"


class HttpRequest(BaseModel):
    """What to send. At most one of `body`, `body_base64` and `json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    url: str = Field(min_length=1, max_length=8192, description="http:// or https:// URL, percent-encoded.")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict, max_length=MAX_HEADERS)
    query: dict[str, str] = Field(default_factory=dict, max_length=256, description="Added to the URL's own query.")
    body: str | None = Field(default=None, max_length=REQUEST_BYTES, description="Text, sent as UTF-8.")
    body_base64: str | None = Field(default=None, description="Bytes.")
    json_body: Any = Field(default=None, alias="json", description="Sent as application/json.")
    follow_redirects: bool = Field(default=True, description="At most three, each checked like a first request.")

    def full_url(self) -> str:
        """The URL with `query` added."""
        if not self.query:
            return self.url
        base, hash_sign, fragment = self.url.partition("#")
        return f"{base}{'&' if '?' in base else '?'}{urlencode(self.query)}{hash_sign}{fragment}"

    def payload(self) -> tuple[bytes | None, str]:
        """The body's bytes (None: no body) and the content type to use when the headers name none.

        Raises:
            InvalidInput: More than one body, not base64, or larger than 1 MiB.
        """
        if sum(part is not None for part in (self.body, self.body_base64, self.json_body)) > 1:
            raise InvalidInput("give at most one of body, body_base64 and json")
        payload, content_type = self._encode()
        if payload is not None and len(payload) > REQUEST_BYTES:
            raise InvalidInput(f"the body is larger than {REQUEST_BYTES} bytes")
        return payload, content_type

    def _encode(self) -> tuple[bytes | None, str]:
        if self.body is not None:
            return self.body.encode(), "text/plain; charset=utf-8"
        if self.body_base64 is not None:
            try:
                return base64.b64decode(self.body_base64, validate=True), "application/octet-stream"
            except binascii.Error as error:
                raise InvalidInput(f"body_base64 is not base64: {error}") from None
        if self.json_body is not None:
            return json.dumps(self.json_body, ensure_ascii=False).encode(), "application/json"
        return None, ""


def check_headers(headers: dict[str, str]) -> None:
    """Refuse headers that would change how or where the request is sent.

    Raises:
        PolicyDenied: A name or value is not allowed; names the header, never its value.
    """
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise PolicyDenied("a header name holds a character that is not allowed")
        lower = name.lower()
        if lower in _REFUSED or lower.startswith(("proxy-", "sec-", ":")):
            raise PolicyDenied(f"the header {name} is set by the Runner itself")
        if len(value) > HEADER_BYTES or not _VALUE.fullmatch(value):
            raise PolicyDenied(f"the value of the header {name} is too long or holds a control character")


def without_credentials(headers: dict[str, str]) -> dict[str, str]:
    """The headers that may follow a redirect to another origin."""
    return {name: value for name, value in headers.items() if not _CREDENTIALS.match(name)}


def without_body_headers(headers: dict[str, str]) -> dict[str, str]:
    """The headers that still make sense when a redirect drops the body."""
    return {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
