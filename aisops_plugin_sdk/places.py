"""The place an address leads to, as the HTTP client itself reads it: scheme, host and port. Pure."""

from typing import TypeAlias

from yarl import URL

from aisops_plugin_sdk.addresses import plain_host
from aisops_plugin_sdk.egress import denied

Place: TypeAlias = tuple[str, str, int]


def place_of(url: URL) -> Place:
    """Scheme, host in its one spelling, and port.

    Raises:
        Permanent: code `egress_denied`: it is no plain http(s) address, or carries credentials.
    """
    host = url.raw_host or ""
    if url.scheme not in {"http", "https"} or not host or not url.port:
        raise denied("the address must begin with https:// or http:// and name a host")
    if url.raw_user is not None or url.raw_password is not None:
        raise denied("the address must carry no user name or password; use a header")
    try:
        return url.scheme, plain_host(f"[{host}]" if ":" in host else host), url.port
    except ValueError as error:
        raise denied(str(error)) from None


def read_address(text: str) -> URL:
    """Read a whole address.

    Raises:
        Permanent: code `egress_denied`: it cannot be read.
    """
    try:
        return URL(text)
    except ValueError:
        raise denied("the address cannot be read") from None
