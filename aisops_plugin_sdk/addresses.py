"""Hosts and addresses as a rule must see them: one spelling for each, and what kind of place an address is. Pure.

Whatever two parsers could read differently (numeric hosts in odd bases, zones, a final dot) is normalised or refused.
An IPv6 address is also judged by every IPv4 address it carries inside.
"""

import enum
import ipaddress
import re
from collections.abc import Sequence
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

METADATA: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.169.254/32",  # most clouds (link-local as well)
        "169.254.170.2/32",  # container credentials
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's host agent
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::254/128",  # AWS over IPv6
        "fd00:ec2::23/128",
        "fd20:ce::254/128",  # Google over IPv6
    )
)
PRIVATE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class Kind(enum.Enum):
    """What kind of place an address is."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "this machine itself"
    RESERVED = "link-local, multicast or reserved"
    METADATA = "cloud metadata"


def kinds_of(address: Address) -> frozenset[Kind]:
    """The kinds of an address and of every IPv4 address it carries inside (mapped, 6to4, Teredo, NAT64, compatible)."""
    return frozenset(_kind(inner) for inner in _embedded(address))


def address_of(host: str) -> Address | None:
    """The host as an address, when it is one in its plain spelling."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses; names are not resolved."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback


def plain_host(text: str) -> str:
    """Normalise a host: lower case, without brackets or a final dot, an address in its one spelling.

    Args:
        text: a host as it stands in a URL: a name, an IPv4 address, or an IPv6 address in brackets.

    Raises:
        ValueError: it is neither a plain name nor a plain address; the text says why.
    """
    if text.startswith("["):
        return _plain_ipv6(text)
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):  # whoever resolves it will take it for an IPv4 address in some notation
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("a numeric host must be a plain IPv4 address such as 192.0.2.7") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host is not a plain DNS name (write international names as xn--…)")
    return host


def _plain_ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError("an address with a zone is not allowed")
    try:
        return ipaddress.IPv6Address(text[1:].removesuffix("]")).compressed
    except ValueError:
        raise ValueError("the host in brackets is not an IPv6 address") from None


def _kind(address: Address) -> Kind:
    if _in_any(address, METADATA):
        return Kind.METADATA
    if address.is_loopback:
        return Kind.LOOPBACK
    if address.is_link_local or address.is_multicast or address.is_unspecified or _is_reserved(address):
        return Kind.RESERVED
    return Kind.PRIVATE if _in_any(address, PRIVATE) else Kind.PUBLIC


def _in_any(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _embedded(address: Address) -> Sequence[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    inner: list[Address] = [address]
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    if address.teredo is not None:
        inner.extend(address.teredo)
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return inner


def _is_reserved(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        first = int(address) >> 24
        return first == 0 or first >= 224
    return address.is_site_local or (address.is_reserved and address not in _NAT64 and address not in _COMPATIBLE)
