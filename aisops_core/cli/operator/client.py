"""Speaks to Core's HTTP API with the standard library alone, so that the command starts fast.

Proxies of the environment (HTTPS_PROXY, NO_PROXY) are honoured. Redirects are not followed: they would carry the token
to an address nobody chose.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib.parse import urlencode

from aisops_core.cli.failure import FAILED, REFUSED, Failure
from aisops_core.cli.operator.profile import REFUSED_ADVICE, Profile

TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: its status and JSON document."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 - the standard library's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


class CoreClient:
    """One Core, one token."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if profile.url.startswith("https://"):
            handlers.append(urllib.request.HTTPSHandler(context=_tls(profile.ca_file)))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, wait_s: float = 0.0) -> dict[str, Any]:
        """Return the document at `path`; None values of `query` are left out. `wait_s` is added to the time limit."""
        wanted = urlencode({key: value for key, value in (query or {}).items() if value is not None})
        return self._send("GET", f"{path}?{wanted}" if wanted else path, None, {}, TIMEOUT_S + wait_s).document

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a document and return the answer."""
        data = None if body is None else json.dumps(body).encode()
        return self._send("POST", path, data, headers or {}, TIMEOUT_S)

    def post_json(self, path: str, data: bytes, headers: Mapping[str, str], *, wait_s: float = 0.0) -> Answer:
        """Send JSON text and return the answer. `wait_s` is added to the time limit."""
        return self._send("POST", path, data, headers, TIMEOUT_S + wait_s)

    def _send(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], timeout_s: float) -> Answer:
        request = urllib.request.Request(  # noqa: S310 - the address was checked to be http or https
            f"{self._profile.url}/api/v1{path}",
            # A POST without a document still says that it has none.
            data=b"" if data is None and method == "POST" else data,
            method=method,
            headers={
                "Authorization": f"Bearer {self._profile.token}",
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": "aisops",
                **headers,
            },
        )
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                raw = response.read(MAX_ANSWER_BYTES)
                return Answer(response.status, self._document(raw), dict(response.headers))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error.code, error.read(MAX_ANSWER_BYTES)) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, timeout_s) from error

    def _document(self, raw: bytes) -> dict[str, Any]:
        try:
            document = json.loads(raw)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Failure(f"{self._profile.url} does not answer like a Core.", advice="Check the address.")
        return document

    def _refused(self, status: int, raw: bytes) -> Failure:
        try:
            problem = json.loads(raw)
        except ValueError:
            problem = None
        if not isinstance(problem, dict) or "code" not in problem:
            return Failure(
                f"{self._profile.url} answered {status}, and not like a Core.",
                advice="Check the address, and whether a proxy stands between (NO_PROXY).",
            )
        advice = REFUSED_ADVICE if status == 401 else str(problem.get("advice", ""))
        details = [f"{item.get('pointer', '')}: {item.get('detail', '')}" for item in problem.get("errors", [])]
        text = f"{problem.get('detail', '')} [{problem['code']}]"
        details = [line for line in details if line not in text]
        # A wrong token stays wrong: a program must not try again.
        exit_code = REFUSED if status == 401 else FAILED
        return Failure(text, advice=advice, details=details, exit_code=exit_code, problem=problem)

    def _unreachable(self, error: Exception, timeout_s: float) -> Failure:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        url = self._profile.url
        match cause:
            case ssl.SSLCertVerificationError():
                return Failure(
                    f"The certificate of {url} is not trusted: {cause.verify_message}.",
                    advice="If Core uses a private authority, name its file: login's --ca-file, or AISOPS_CA_FILE.",
                    exit_code=REFUSED,
                )
            case ConnectionRefusedError():
                return Failure(
                    f"Nothing listens at {url} (connection refused).",
                    advice="Is Core running there? `aisops-core serve --data DIR` starts one.",
                )
            case TimeoutError():
                return Failure(
                    f"{url} did not answer within {timeout_s:.0f} s.", advice="Check the network, try again."
                )
            case socket.gaierror():
                return Failure(f"The host of {url} is not known.", advice="Check the address and the name server.")
            case ssl.SSLError():
                return Failure(
                    f"No TLS connection to {url}: {cause.reason}.", advice="Does it speak https at that port?"
                )
            case http.client.BadStatusLine() | http.client.LineTooLong():
                return Failure(
                    f"{url} does not speak HTTP/1.",
                    advice="Name Core's HTTP port (8080 unless changed), not the one for Runners.",
                )
            case _:
                return Failure(f"The connection to {url} failed: {cause}.", advice="Check the network, try again.")


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Failure(f"The authority file {ca_file} cannot be used: {error}.", exit_code=REFUSED) from None
