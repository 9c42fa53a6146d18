"""The door of a plugin's outgoing connections: an aiohttp connector that asks the egress list before it connects.

It stands below everything that uses the session: a vendor's library, a redirect somebody follows, a connection that is
kept. The name is checked before it is resolved, and what it resolves to before the connection. Behind an HTTP proxy the
proxy resolves names, so only the name (or the address, when one is asked for) can be checked here.
"""

import socket
from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.resolver import ThreadedResolver
from aiohttp.tracing import Trace
from yarl import URL

from aisops_plugin_sdk.addresses import address_of, plain_host
from aisops_plugin_sdk.egress import Egress, denied
from aisops_plugin_sdk.errors import Permanent
from aisops_plugin_sdk.places import place_of

ProxyFor = Callable[[str, str, int], str]
"""Scheme, host and port to the address of the proxy for them; empty: none."""


class GuardedConnector(aiohttp.TCPConnector):
    """Connects to what the egress list allows.

    Args:
        egress: the list.
        proxy_for: which proxy a request may go through; it may always go directly.
        dry_run: nothing may leave: every request is refused.
        resolver: looks names up; the system's by default.
        options: those of `aiohttp.TCPConnector`.
    """

    def __init__(
        self,
        egress: Egress,
        proxy_for: ProxyFor,
        *,
        dry_run: bool = False,
        resolver: AbstractResolver | None = None,
        **options: object,
    ) -> None:
        self._dry_run = dry_run
        self._egress = egress
        self._proxy_for = proxy_for
        self._names = _CheckedResolver(egress, resolver or ThreadedResolver())
        super().__init__(resolver=self._names, **options)  # type: ignore[arg-type]  # passed on as they came

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        """Give a connection for a request, a kept or a new one.

        Raises:
            Permanent: nothing was sent: code `egress_denied`, the list does not allow it; code `dry_run`.
        """
        if self._dry_run:
            raise Permanent("nothing may leave in a dry run; look at ctx.dry_run before asking", code="dry_run")
        scheme, host, port = place_of(req.url)
        self._egress.check(scheme, host, port)
        if address_of(host) is not None:
            self._egress.check_addresses(host, port, [host])
        if req.proxy is not None:
            if not _same(req.proxy, self._proxy_for(scheme, host, port)):
                raise denied("the request asks for a proxy that the environment does not name")
            self._names.trust(req.proxy)
        return await super().connect(req, traces, timeout)


class _CheckedResolver(AbstractResolver):
    """Looks names up and lets only addresses through to which they may lead."""

    def __init__(self, egress: Egress, inner: AbstractResolver) -> None:
        self._egress = egress
        self._inner = inner
        self._proxies: set[tuple[str, int]] = set()

    def trust(self, proxy: URL) -> None:
        """Leave the addresses of the operator's proxy unchecked."""
        self._proxies.add((proxy.raw_host or "", proxy.port or 0))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up.

        Raises:
            OSError: it does not resolve.
            Permanent: code `egress_denied`: it leads where it must not.
        """
        found = await self._inner.resolve(host, port, family)
        if (host, port) not in self._proxies:
            self._egress.check_addresses(plain_host(host), port, [one["host"] for one in found])
        return found

    async def close(self) -> None:
        """Close the resolver inside."""
        await self._inner.close()


def _same(proxy: URL, named: str) -> bool:
    """Whether a request's proxy is the one named; aiohttp takes the credentials out of the address."""
    if not named:
        return False
    expected = URL(named)
    return (proxy.scheme, proxy.raw_host, proxy.port) == (expected.scheme, expected.raw_host, expected.port)
