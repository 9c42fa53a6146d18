"""Which HTTP proxy the environment names for an address. Pure: the environment is passed in.

The names are the usual ones, lower case first: `https_proxy`, `http_proxy`, `all_proxy`, and `no_proxy` with the names
that are reached directly (a name covers what is below it, `*` covers everything). Loopback is always reached directly.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from aisops_plugin_sdk.addresses import Network, address_of, is_loopback
from aisops_plugin_sdk.errors import NotConfigured

VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


def proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> str:
    """The proxy's address for a request, or an empty text when it goes directly.

    Args:
        scheme: `https` or `http`.
        host: name or address, without brackets.
        port: the TCP port.
        environ: where the variables are looked up.

    Raises:
        NotConfigured: the variable holds no `http://host:port`; its value, which may hold a password, is not repeated.
    """
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    name = next((name for name in names if environ.get(name)), None)
    if name is None or is_loopback(host):
        return ""
    excepted = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if is_excepted(host, port, excepted):
        return ""
    return check_proxy(environ[name], name)


def check_proxy(value: str, name: str) -> str:
    """Return the address of a proxy when it is one we can speak to.

    Args:
        value: the address; `host:port` alone is taken for http.
        name: the variable, for the text of the refusal.

    Raises:
        NotConfigured: it is no http or https address.
    """
    address = value if "://" in value else f"http://{value}"
    try:
        url = urlsplit(address)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise NotConfigured(f"{name} must be http://[user:password@]host:port; other kinds of proxy are not spoken")
    return address


def credentials_in(environ: Mapping[str, str]) -> list[str]:
    """The passwords in the proxy variables, which must never be shown."""
    found = []
    for name in VARIABLES:
        authority = environ.get(name, "").rpartition("://")[2].rpartition("@")[0]
        if authority:
            found += [authority, authority.partition(":")[2]]
    return found


def is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Whether a host is reached directly.

    Args:
        host: name or address, without brackets.
        port: the TCP port.
        no_proxy: comma-separated exceptions: `*`, host or domain (with or without a leading dot or `*.`), address,
            network (`10.0.0.0/8`), each with an optional `:port`.
    """
    host = host.lower().rstrip(".")
    return any(_matches(host, port, entry.strip().lower()) for entry in no_proxy.split(",") if entry.strip())


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    address = address_of(host)
    if "/" in entry:
        network = _network(entry)
        return address is not None and network is not None and address in network
    name, entry_port = _split_port(entry)
    if entry_port and entry_port != str(port):
        return False
    if address is not None:
        return address == address_of(name.strip("[]"))
    name = name.removeprefix("*").lstrip(".").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, str]:
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (name.startswith("[") or ":" not in name):
        return name, port
    return entry, ""


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
