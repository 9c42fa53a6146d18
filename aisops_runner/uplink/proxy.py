"""Which HTTP proxy leads to Core, by the conventions of HTTPS_PROXY and NO_PROXY. Pure.

gRPC itself reads only the lower-case variables; the Runner reads all of them and passes the answer on.
"""

from __future__ import annotations

import ipaddress


def proxy_for(host: str, port: int, proxy: str, no_proxy: str) -> str:
    """The proxy to use, or an empty text for a direct connection.

    Args:
        host: Host name or address of Core, without brackets.
        port: TCP port of Core.
        proxy: `http://[user:password@]host:port`; empty: none.
        no_proxy: Comma-separated exceptions: `*`, host or domain (with or without a leading dot or `*.`), address,
            network (`10.0.0.0/8`), each with an optional `:port`.
    """
    if not proxy or _is_excepted(host.lower().rstrip("."), port, no_proxy):
        return ""
    return proxy


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    return any(_matches(host, port, entry.strip().lower()) for entry in no_proxy.split(",") if entry.strip())


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        network = _network(entry)
        return address is not None and network is not None and address in network
    name, entry_port = _split_port(entry)
    if entry_port and entry_port != str(port):
        return False
    if address is not None:
        return address == _address(name.strip("[]"))
    name = name.removeprefix("*").lstrip(".").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, str]:
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (name.startswith("[") or ":" not in name):
        return name, port
    return entry, ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
