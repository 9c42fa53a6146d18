"""Outgoing HTTP for plugins: a session that knows whether a request had left when it failed.

That one fact decides what may happen next: what never left may be sent again, what left without an answer must not be
sent again blindly. Redirects are not followed, because the request carries credentials. The texts of the errors name no
address, because some providers carry the token in the path.

Most plugins need `ctx.http()`, which is built on this file.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from aisops_plugin_sdk.addresses import is_loopback
from aisops_plugin_sdk.errors import Ambiguous, NotConfigured, Permanent, PluginError, ProviderError, Transient
from aisops_plugin_sdk.secret import Secret

CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 4.0
"""Short, because reusing a connection that the peer is just closing makes an outcome ambiguous without need."""


@dataclass(slots=True)
class _Attempt:
    left: bool = False
    redirected: bool = False


_attempt: ContextVar[_Attempt | None] = ContextVar("aisops_outbound_attempt", default=None)


def base_url(text: str) -> str:
    """Check the address of a provider and return it without a trailing slash; use it as a config validator.

    Raises:
        ValueError: it is not https (http is accepted on loopback), or carries credentials, a query or a fragment.
    """
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError("must be an https address")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise ValueError("must be https; plain http is accepted on loopback only")
    if "@" in url.netloc or url.query or url.fragment:
        raise ValueError("must carry no credentials, query or fragment")
    return text.rstrip("/")


def trusting(ca_file: str) -> ssl.SSLContext:
    """Build a TLS client context that trusts the authorities of a PEM file and nobody else.

    Raises:
        NotConfigured: the file cannot be read or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise NotConfigured(f"the authorities in {ca_file} cannot be read ({type(error).__name__})") from None


async def read_at_most(answer: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """Read the body of an answer, cut off at `limit_bytes`: a provider gone wrong must not fill the memory."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) >= limit_bytes:
            break
    return bytes(body[:limit_bytes])


class Outbound:
    """An HTTP session to one provider.

    Args:
        address: the provider's base address; a proxy is not used when it is on loopback.
        ca_file: PEM file of authorities to trust instead of the system's; empty for the system's.
        proxy: address of an HTTP proxy, which may carry its own credentials.
        connector: makes the session's connector, given the options it must have; aiohttp's own by default.

    Raises:
        NotConfigured: the file of authorities cannot be read or holds none.
    """

    def __init__(
        self,
        address: str,
        *,
        ca_file: str = "",
        proxy: Secret | None = None,
        connector: Callable[..., aiohttp.BaseConnector] = aiohttp.TCPConnector,
    ) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_mark_left)
        trace.on_request_redirect.append(_refuse_redirect)
        context = trusting(ca_file) if ca_file else True
        direct = proxy is None or is_loopback(urlsplit(address).hostname or "")
        self.session = aiohttp.ClientSession(
            connector=connector(ssl=context, keepalive_timeout=KEEPALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
            trace_configs=[trace],
            proxy=None if proxy is None or direct else proxy.reveal(),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self.session.close()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close."""
        await self.close()

    @asynccontextmanager
    async def attempt(self, provider: str, timeout_s: float, *, harmless: bool = False) -> AsyncIterator[None]:
        """Make one request inside; failures of the connection come out as errors of the SDK.

        Args:
            provider: its name, for the text of the error.
            timeout_s: seconds for the whole request; give it less than the call has left.
            harmless: the request changes nothing, as a GET does, so that repeating it is safe also when it had left.

        Raises:
            Transient: nothing had left, or the request was harmless: repeating is safe.
            Ambiguous: the request had left and no answer came.
            Permanent: the provider answered with a redirect, so the configured address is wrong.
            ProviderError: its certificate is not trusted.
        """
        attempt = _Attempt()
        token = _attempt.set(attempt)
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                yield
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(provider, attempt, error, harmless=harmless) from None
        finally:
            _attempt.reset(token)


def _failure(provider: str, attempt: _Attempt, error: Exception, *, harmless: bool) -> PluginError:
    """Judge a failed connection. The error's own text is dropped: it may name the address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ProviderError(f"the certificate of {provider} is not trusted", code="certificate_untrusted")
    kind = type(error).__name__
    if attempt.redirected:
        return Permanent(f"{provider} answered with a redirect; check the configured address", code="redirected")
    if attempt.left and harmless:
        return Transient(f"no answer of {provider} came ({kind})", code="no_answer")
    if attempt.left:
        return Ambiguous(f"the request to {provider} left and no answer came ({kind})")
    return Transient(f"{provider} cannot be reached ({kind}); nothing was sent", code="unreachable")


async def _mark_left(
    _session: aiohttp.ClientSession, _ctx: SimpleNamespace, _params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    if (attempt := _attempt.get()) is not None:
        attempt.left = True


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _ctx: SimpleNamespace, _params: aiohttp.TraceRequestRedirectParams
) -> None:
    if (attempt := _attempt.get()) is not None:
        attempt.redirected = True
    raise aiohttp.ClientError("redirect")
