"""Which HTTP proxy leads to Core, by the conventions of HTTPS_PROXY and NO_PROXY. Pure.

gRPC itself reads only the lower-case variables; the Runner reads all of them and passes the answer on.
"""

from __future__ import annotations

from aisops_plugin_sdk.proxies import is_excepted


def proxy_for(host: str, port: int, proxy: str, no_proxy: str) -> str:
    """The proxy to use, or an empty text for a direct connection.

    Args:
        host: Host name or address of Core, without brackets.
        port: TCP port of Core.
        proxy: `http://[user:password@]host:port`; empty: none.
        no_proxy: Exceptions, as `is_excepted` reads them.
    """
    return "" if not proxy or is_excepted(host, port, no_proxy) else proxy
