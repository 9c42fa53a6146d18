"""Where `http.request` may go: the operator's allow list, checked on names, then on every address. Pure.

Nothing is allowed that is not listed. Whatever two parsers could read differently (userinfo, backslashes, numeric hosts
in odd bases, encoded dots and slashes) is refused instead of interpreted. Link-local, metadata, multicast and reserved
addresses are refused whatever the list says; loopback and private ones need the rule's own word.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

from aisops_plugin_sdk.addresses import Address, Kind, address_of, kinds_of, plain_host
from aisops_runner.errors import PolicyDenied

URL_CHARS = 8192
MAX_REDIRECTS = 3
DEFAULT_PORTS = {"http": 80, "https": 443}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
SAFE_METHODS = frozenset({"GET", "HEAD"})

_FORBIDDEN_IN_URL = re.compile(r"[\x00-\x20\x7f\\<>\"{}|^`]")
_ENCODED_SEPARATOR = re.compile(r"%(?:2f|5c|00|25)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]+)(:[0-9]{1,5})?", re.ASCII)
_METHOD = re.compile(r"[A-Z]{1,16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """One URL, taken apart once: `host` is lower-case, without brackets or final dot; `path` starts with a slash."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    @property
    def address(self) -> Address | None:
        """The host as an address, when it is one."""
        return address_of(self.host)

    @property
    def url(self) -> str:
        """The URL to send, built from the checked parts and nothing else."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}" + (f"?{self.query}" if self.query else "")

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return (self.scheme, self.host, self.port)


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[http.allow]]` entry.

    Attributes:
        host: An exact name or address, or `*.example.com` for names below example.com.
        schemes: `https`, `http`.
        ports: TCP ports; empty: the scheme's own.
        methods: Upper case.
        path_prefix: Whole segments; `/api` covers `/api` and `/api/x`, not `/apix`.
        allow_private: The name may lead to private addresses (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7).
        allow_loopback: It may lead to this machine itself.
    """

    host: str
    schemes: frozenset[str] = frozenset({"https"})
    ports: frozenset[int] = frozenset()
    methods: frozenset[str] = SAFE_METHODS
    path_prefix: str = "/"
    allow_private: bool = False
    allow_loopback: bool = False

    def covers(self, method: str, target: Target) -> bool:
        """Whether this rule lets the method through to the target's name, port and path."""
        return (
            _host_matches(self.host, target.host)
            and target.scheme in self.schemes
            and target.port in (self.ports or {DEFAULT_PORTS[target.scheme]})
            and method in self.methods
            and _path_matches(self.path_prefix, target.path)
        )


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """The allow list; empty: nothing is allowed."""

    rules: tuple[Rule, ...] = ()

    def check(self, method: str, target: Target) -> Rule:
        """The first rule that covers the call.

        Raises:
            PolicyDenied: None does; the message says what is missing.
        """
        if not _METHOD.fullmatch(method):
            raise PolicyDenied("the method is not an HTTP method in upper case")
        for rule in self.rules:
            if rule.covers(method, target):
                return rule
        where = f"{target.scheme}://{target.host}:{target.port}{target.path[:200]}"
        if not self.rules:
            raise PolicyDenied(f"{method} {where} is not allowed: this Runner has no [[http.allow]] rule")
        raise PolicyDenied(f"{method} {where} is not covered by any [[http.allow]] rule of this Runner's policy file")


@dataclass(frozen=True, slots=True)
class Hop:
    """The next request after a redirect."""

    target: Target
    method: str
    keep_body: bool
    keep_credentials: bool


def parse_target(url: str) -> Target:
    """Take a URL apart, refusing what could be read in two ways.

    Raises:
        PolicyDenied: It is no plain http(s) URL.
    """
    if len(url) > URL_CHARS:
        raise PolicyDenied(f"the URL is longer than {URL_CHARS} characters")
    if _FORBIDDEN_IN_URL.search(url) or not url.isascii():
        raise PolicyDenied("the URL holds a character that must be percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise PolicyDenied(f"the URL cannot be read: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not url[len(scheme) :].startswith("://"):
        raise PolicyDenied("the URL must begin with http:// or https://")
    if "@" in parts.netloc:
        raise PolicyDenied("the URL must not hold a user name or password; use a header")
    if port == 0 or not _AUTHORITY.fullmatch(parts.netloc):
        raise PolicyDenied("the URL's host and port are not host or host:port")
    path = parts.path or "/"
    if any(unquote(segment) in (".", "..") for segment in path.split("/")):
        raise PolicyDenied("the URL's path must not hold . or .. segments")
    return Target(
        scheme, parse_host(parts.netloc, parts.hostname or ""), port or DEFAULT_PORTS[scheme], path, parts.query
    )


def parse_host(netloc: str, host: str) -> str:
    """Normalise a host.

    Args:
        netloc: The authority as written, to tell an address in brackets.
        host: The host as the URL parser found it.

    Raises:
        PolicyDenied: It is neither a plain name nor a plain address.
    """
    try:
        return plain_host(f"[{host}]" if netloc.startswith("[") else host)
    except ValueError as error:
        raise PolicyDenied(str(error)) from None


def check_addresses(rule: Rule, target: Target, addresses: Iterable[str]) -> list[str]:
    """Check every address a name resolves to; one bad address condemns the name.

    Args:
        rule: The rule that covers the call.
        target: For the message.
        addresses: As the resolver gave them.

    Returns:
        The addresses to connect to, and to no other.

    Raises:
        PolicyDenied: One of them is out of bounds, or there is none.
    """
    checked: list[str] = []
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if reason := refusal(rule, address):
            raise PolicyDenied(f"{target.host} leads to {address}, {reason}")
        checked.append(str(address))
    if not checked:
        raise PolicyDenied(f"{target.host} leads to no address")
    return checked


def refusal(rule: Rule, address: Address) -> str:
    """Why the address is out of bounds under this rule; empty when it is not."""
    kinds = kinds_of(address)
    if Kind.METADATA in kinds:
        return "a cloud metadata address, which is never allowed"
    if Kind.RESERVED in kinds:
        return "a link-local, multicast or reserved address, which is never allowed"
    if Kind.LOOPBACK in kinds and not rule.allow_loopback:
        return "this machine itself; the rule needs allow_loopback = true"
    if Kind.PRIVATE in kinds and not rule.allow_private:
        return "a private address; the rule needs allow_private = true"
    return ""


def next_hop(method: str, status: int, location: str, came_from: Target) -> Hop | None:
    """What a redirect asks for; the caller checks the hop like any first request.

    Args:
        method: The method just used.
        status: The answer's status.
        location: Its Location header; empty: none.
        came_from: Where the answer came from.

    Returns:
        None when the answer is no redirect to follow.

    Raises:
        PolicyDenied: It leads somewhere that cannot be read, or from https to http.
    """
    if status not in REDIRECTS or not location:
        return None
    try:
        url = urljoin(came_from.url, location.partition("#")[0])
    except ValueError as error:
        raise PolicyDenied(f"{came_from.host} redirects to what is no URL: {error}") from None
    target = parse_target(url)
    if came_from.scheme == "https" and target.scheme == "http":
        raise PolicyDenied(f"{came_from.host} redirects from https to http ({target.host})")
    becomes_get = status == 303 or (status in (301, 302) and method == "POST")
    next_method = "GET" if becomes_get and method != "HEAD" else method
    same = target.origin == came_from.origin
    return Hop(target, next_method, keep_body=not becomes_get, keep_credentials=same)


def _host_matches(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def _path_matches(prefix: str, path: str) -> bool:
    if prefix == "/":
        return True
    if _ENCODED_SEPARATOR.search(path):  # the server may decode it into another path than the one compared here
        return False
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")
