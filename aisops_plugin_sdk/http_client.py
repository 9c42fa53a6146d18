"""`Http`, the client behind `ctx.http()`: one provider, the plugin's egress list, and timeouts below the deadline.

aiohttp is imported by the first request, so that a manifest can be described without it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from yarl import URL

from aisops_plugin_sdk.calls import time_left_s
from aisops_plugin_sdk.egress import Egress
from aisops_plugin_sdk.errors import Ambiguous, PluginError, ProviderError, Transient
from aisops_plugin_sdk.places import place_of, read_address
from aisops_plugin_sdk.proxies import proxy_for
from aisops_plugin_sdk.responses import Response
from aisops_plugin_sdk.secret import Secret

if TYPE_CHECKING:
    import aiohttp

    from aisops_plugin_sdk.outbound import Outbound

DEFAULT_TIMEOUT_S = 15.0
MAX_RESPONSE_BYTES = 1024 * 1024
ANSWER_MARGIN_S = 0.25
"""Kept back from the call's deadline, so that our own verdict on a slow answer comes before the caller gives up."""
IDEMPOTENCY_HEADER = "Idempotency-Key"
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Http:
    """Requests to one provider. Made by `ctx.http()`, closed with the plugin; use it on the event loop only.

    Args:
        base_url: the provider's base address; paths are appended to it.
        egress: where requests may go.
        environ: where proxies and the file of authorities are looked up.
        dry_run: nothing may leave.
        name: the provider, for the texts of errors.
        timeout_s: longest wait for one answer.
        ca_file: PEM file of authorities to trust instead of the system's.
        bearer: sent as `Authorization: Bearer …`.
        headers: sent with every request.
        max_response_bytes: longer answers are refused.

    Raises:
        NotConfigured: the file of authorities cannot be read, or the environment's proxy is none we can speak to.
    """

    def __init__(
        self,
        base_url: str,
        *,
        egress: Egress,
        environ: Mapping[str, str],
        dry_run: bool,
        name: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        ca_file: str = "",
        bearer: Secret | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._origin = place_of(read_address(self._base)) if base_url else None
        self._name = name or (self._origin[1] if self._origin else "the provider")
        self._egress = egress
        self._environ = environ
        self._dry_run = dry_run
        self._timeout_s = timeout_s
        self._ca_file = ca_file or environ.get("SSL_CERT_FILE", "")
        self._headers = dict(headers or {})
        if bearer is not None:
            self._headers["Authorization"] = Secret(f"Bearer {bearer.reveal()}")
        self._limit = max_response_bytes
        self._outbounds: dict[str, Outbound] = {}
        self._closed = False
        if self._ca_file:
            from aisops_plugin_sdk.outbound import trusting

            trusting(self._ca_file)
        self._proxy = self._proxy_for(*self._origin) if self._origin else ""

    def __repr__(self) -> str:
        return f"Http({self._name!r})"

    @property
    def session(self) -> "aiohttp.ClientSession":
        """The aiohttp session, for vendor libraries that take one: the egress list holds for whatever uses it.

        Use it inside `attempt`, which judges its failures.
        """
        return self._open(self._proxy).session

    @asynccontextmanager
    async def attempt(self, timeout_s: float | None = None, *, harmless: bool = False) -> AsyncIterator[None]:
        """Make one request through `session` inside; failures come out as errors of the SDK.

        Args:
            timeout_s: seconds for the whole request; the client's own when None. The call's deadline shortens it.
            harmless: the request changes nothing, so that it may be repeated also when it had left.

        Raises:
            Transient: nothing had left, or the request was harmless.
            Ambiguous: the request had left and no answer came.
            Permanent: the provider answered with a redirect; the egress list does not allow it; a dry run.
            ProviderError: its certificate is not trusted.
        """
        async with self._attempt(self._open(self._proxy), timeout_s, harmless=harmless):
            yield

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        data: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        idempotency_key: str = "",
        timeout_s: float | None = None,
    ) -> Response:
        """Make one request and read its whole answer, whatever its status. Redirects are not followed.

        Args:
            method: in upper case.
            url: a path below the base address, beginning with a slash, or a whole address. The client's own headers,
                with its credentials, go to the base address's scheme, host and port only.
            json: a model or a value, sent as JSON; `form` is sent urlencoded, `data` as it is. At most one of them.
            form: fields of a form.
            data: raw bytes.
            params: added to the query.
            headers: for this request; they win over the client's.
            idempotency_key: sent as `Idempotency-Key` when not empty; usually `ctx.idempotency_key`.
            timeout_s: seconds for the whole request; the client's own when None. The call's deadline shortens it.

        Raises:
            Transient: nothing had left, or a GET, HEAD or OPTIONS got no answer.
            Ambiguous: the request had left and no complete answer came.
            Permanent: a redirect (`redirected`), a place that the egress list does not allow (`egress_denied`), or a
                dry run (`dry_run`). Nothing was sent but in the case of the redirect.
            ProviderError: the certificate is not trusted, or the answer to a harmless request is too large.
            ValueError: `url` is neither a path nor an http(s) address, or more than one body was given.
        """
        if sum(body is not None for body in (json, form, data)) > 1:
            raise ValueError("give one of json, form and data")
        address = self._address(url)
        sent = self._sent_headers(address, headers or {}, idempotency_key)
        if json is not None:
            data = to_json(json, by_alias=True)
            sent.setdefault("Content-Type", "application/json")
        harmless = method in _HARMLESS
        outbound = self._open(self._proxy_for(*place_of(address)))
        payload = data if form is None else dict(form)
        async with (
            self._attempt(outbound, timeout_s, harmless=harmless),
            outbound.session.request(method, address, data=payload, params=params, headers=sent) as answer,
        ):
            body = await _read(answer, self._limit)
            received = {name.lower(): value for name, value in answer.headers.items()}
        if len(body) > self._limit:
            raise self._too_large(harmless=harmless)
        return Response(answer.status, received, body, self._name, harmless)

    async def get(self, url: str, **options: Any) -> Response:
        """Make a GET request; see `request`."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Any) -> Response:
        """Make a POST request; see `request`."""
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Any) -> Response:
        """Make a PUT request; see `request`."""
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Any) -> Response:
        """Make a PATCH request; see `request`."""
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Any) -> Response:
        """Make a DELETE request; see `request`."""
        return await self.request("DELETE", url, **options)

    async def close(self) -> None:
        """Close every connection; the SDK does so when the plugin stops."""
        self._closed = True
        for outbound in self._outbounds.values():
            await outbound.close()

    def _open(self, proxy: str) -> "Outbound":
        """The session for one proxy or none, made by its first request because it belongs to the running loop."""
        if self._closed:
            raise RuntimeError("the client is closed")
        if proxy not in self._outbounds:
            from aisops_plugin_sdk.gate import GuardedConnector
            from aisops_plugin_sdk.outbound import Outbound

            self._outbounds[proxy] = Outbound(
                "",  # whether the proxy is for this address was decided already
                ca_file=self._ca_file,
                proxy=Secret(proxy) if proxy else None,
                connector=partial(GuardedConnector, self._egress, self._proxy_for, dry_run=self._dry_run),
            )
        return self._outbounds[proxy]

    @asynccontextmanager
    async def _attempt(self, outbound: "Outbound", timeout_s: float | None, *, harmless: bool) -> AsyncIterator[None]:
        left_s = self._time_left_s(timeout_s)
        if left_s <= 0:
            raise Transient("no time is left for the request; nothing was sent", code="deadline")
        async with outbound.attempt(self._name, left_s, harmless=harmless):
            yield

    def _address(self, url: str) -> URL:
        if url.startswith("/") and not url.startswith("//") and self._base:
            return read_address(self._base + url)
        if url.lower().startswith(("https://", "http://")):
            return read_address(url)
        raise ValueError("url must be a path that begins with a slash, below a base_url, or a whole http(s) address")

    def _sent_headers(self, address: URL, given: Mapping[str, str | Secret], key: str) -> dict[str, str]:
        """The headers of one request; the client's own only where its credentials belong."""
        own = self._headers if self._origin is not None and place_of(address) == self._origin else {}
        names = {name.lower() for name in given}
        chosen = {name: value for name, value in own.items() if name.lower() not in names} | dict(given)
        if key:
            chosen[IDEMPOTENCY_HEADER] = key
        return {name: value.reveal() if isinstance(value, Secret) else value for name, value in chosen.items()}

    def _proxy_for(self, scheme: str, host: str, port: int) -> str:
        return proxy_for(scheme, host, port, self._environ)

    def _time_left_s(self, timeout_s: float | None) -> float:
        limit = self._timeout_s if timeout_s is None else timeout_s
        left_s = time_left_s.get()
        return limit if left_s is None else min(limit, left_s() - ANSWER_MARGIN_S)

    def _too_large(self, *, harmless: bool) -> PluginError:
        text = f"the answer of {self._name} is over the limit of {self._limit} bytes"
        if harmless:
            return ProviderError(text, code="answer_too_large")
        return Ambiguous(f"{text}; the request was probably carried out", code="answer_too_large")


async def _read(answer: "aiohttp.ClientResponse", limit: int) -> bytes:
    from aisops_plugin_sdk.outbound import read_at_most

    return await read_at_most(answer, limit + 1)
