"""Where a plugin's outgoing requests may go: its list, checked on names first and then on addresses. Pure.

An entry is one of

    api.acme.test               https on port 443
    api.acme.test:8443          https on that port
    http://jenkins.acme.test    plain http, on port 80 unless another is given
    *.acme.test                 every name below acme.test, not acme.test itself
    192.0.2.7:8443, [2001:db8::7]:8443, 10.0.0.0/8:443
    ${ACME_URL}                 whatever addresses stand in this variable of the plugin's config

A name leads to addresses, and somebody else decides to which. So a name of the author's list may lead to public
addresses only; private ones and this machine itself must stand in the list as addresses, or be the operator's own
choice (a value set for `${…}`, or the operator's list). Link-local addresses must stand in a list as addresses, and
cloud metadata addresses must stand there one by one.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import AnyUrl, BaseModel

from aisops_plugin_sdk.addresses import Address, Kind, Network, address_of, kinds_of, plain_host
from aisops_plugin_sdk.errors import ConfigInvalid, Detail, Permanent

OPERATOR_ENV = "AISOPS_EGRESS"
"""Further entries, the operator's own, separated by commas or blanks."""
MAX_ENTRIES = 64
DEFAULT_PORTS = {"https": 443, "http": 80}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}", re.ASCII)
_ENTRY = re.compile(
    r"(?:(https?)://)?(\*\.)?(\[[^\[\]/]*\]|[^\[\]:/*]+)(?:/([0-9]{1,3}))?(?::([0-9]{1,5}))?/?",
    re.ASCII | re.IGNORECASE,
)
_WIDEST = {4: 8, 6: 16}


@dataclass(frozen=True, slots=True)
class Rule:
    """One place requests may go to.

    Attributes:
        scheme: `https` or `http`.
        host: a name, `*.` and a name, or an address; empty for a network.
        port: the TCP port.
        network: the network, for a network.
        operators: the operator's own choice.
        listed: spelled out in a list, not taken from a configured value.
    """

    scheme: str
    host: str
    port: int
    network: Network | None = None
    operators: bool = False
    listed: bool = True

    def covers(self, scheme: str, host: str, port: int) -> bool:
        """Whether the rule speaks of this scheme, host and port."""
        return self.scheme == scheme and self.leads_to(host, port)

    def leads_to(self, host: str, port: int) -> bool:
        """Whether the rule speaks of this host and port, whatever the scheme."""
        if self.port != port:
            return False
        if self.network is not None:
            return _within(address_of(host), self.network)
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and len(host) > len(self.host) - 1 and address_of(host) is None
        return host == self.host


class Egress:
    """The places one plugin may go to.

    Args:
        rules: the places.
        declared: the list as people know it, for the texts of refusals; None when the plugin declares none.
    """

    def __init__(self, rules: Iterable[Rule], declared: Sequence[str] | None) -> None:
        self._rules = tuple(rules)
        self._declared = declared

    def check(self, scheme: str, host: str, port: int) -> None:
        """Let a request through to this scheme, host (as `plain_host` writes it) and port.

        Raises:
            Permanent: code `egress_denied`: no rule covers it. Nothing was sent.
        """
        if any(rule.covers(scheme, host, port) for rule in self._rules):
            return
        if self._declared is None and not self._rules:
            raise denied("the plugin declares no egress; list the hosts it may reach in Plugin(..., egress=[...])")
        known = ", ".join(self._declared or ()) or "nothing"
        raise denied(f"{scheme}://{_shown(host)}:{port} is not in the plugin's egress list ({known})")

    def check_addresses(self, host: str, port: int, addresses: Iterable[str]) -> None:
        """Let a connection through to the addresses a host leads to; one bad address condemns them all.

        Raises:
            Permanent: code `egress_denied`: one of them is out of bounds.
        """
        rules = [rule for rule in self._rules if rule.leads_to(host, port)]
        for text in addresses:
            address = ipaddress.ip_address(text.partition("%")[0])
            beyond = kinds_of(address) - self._open(rules, address, port)
            if beyond:
                what = ", ".join(sorted(kind.value for kind in beyond))
                where = f"{_shown(host)} leads to {address} ({what}), which the egress list does not name as an address"
                raise denied(f"{where}; the operator can allow it in {OPERATOR_ENV}")

    def _open(self, rules: Iterable[Rule], address: Address, port: int) -> set[Kind]:
        """The kinds of address that these rules, and the addresses in the list, open."""
        kinds: set[Kind] = set()
        for rule in rules:
            kinds.add(Kind.PUBLIC)
            if rule.operators:
                kinds |= {Kind.PRIVATE, Kind.LOOPBACK}
            elif rule.host == "localhost":
                kinds.add(Kind.LOOPBACK)
        for rule in self._rules:
            if not rule.listed or rule.port != port:
                continue
            if rule.network is not None and _within(address, rule.network):
                kinds |= set(Kind) - {Kind.METADATA}
            elif rule.host and address_of(rule.host) == address:
                kinds |= set(Kind)
        return kinds


def denied(text: str) -> Permanent:
    """The one refusal of this file's rules: nothing was sent, and repeating does not help."""
    return Permanent(text, code="egress_denied")


def check_entries(entries: Sequence[str], variables: Iterable[str]) -> None:
    """Check an author's list.

    Args:
        entries: the list.
        variables: the variables of the plugin's config.

    Raises:
        ValueError: an entry cannot be read, names an unknown variable, or there are too many; the text names it.
    """
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"at most {MAX_ENTRIES} entries, not {len(entries)}")
    known = set(variables)
    for entry in entries:
        variable = _VARIABLE.fullmatch(entry)
        if variable is None:
            read_entry(entry)
        elif variable[1] not in known:
            raise ValueError(f"{entry!r} is no variable of the plugin's config")


def read_egress(
    entries: Sequence[str] | None, configured: Mapping[str, tuple[object, bool]], operators: str = ""
) -> Egress:
    """Build the list in force.

    Args:
        entries: the author's list, checked before; None when there is none.
        configured: the config's values by variable, for `${…}`, each with whether the operator set it.
        operators: the operator's own entries, separated by commas or blanks.

    Raises:
        ConfigInvalid: a value is no address, or the operator's list cannot be read.
    """
    rules: list[Rule] = []
    for entry in entries or ():
        variable = _VARIABLE.fullmatch(entry)
        rules += [read_entry(entry)] if variable is None else _configured(variable[1], configured)
    own = [part for part in re.split(r"[,\s]+", operators) if part]
    try:
        rules += [replace(read_entry(part), operators=True) for part in own]
    except ValueError as error:
        raise ConfigInvalid([Detail(OPERATOR_ENV, str(error))]) from None
    shown = None if entries is None and not own else [*(entries or ()), *own]
    return Egress(rules, shown)


def read_entry(text: str) -> Rule:
    """Read one entry that is no `${…}`.

    Raises:
        ValueError: it is none; the text says why.
    """
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text[:300]!r} is no egress entry; write host, host:port, *.domain, an address or ${{VARIABLE}}"
        )
    scheme = (found[1] or "https").lower()
    port = int(found[5] or DEFAULT_PORTS[scheme])
    try:
        host = plain_host(found[3])
        if not 1 <= port <= 65_535:
            raise ValueError("the port must be 1 to 65535")
        if found[4] is not None:
            return Rule(scheme, "", port, _network(host, int(found[4]), wildcard=bool(found[2])))
        if found[2]:
            _check_wildcard(host)
    except ValueError as error:
        raise ValueError(f"egress entry {text[:300]!r}: {error}") from None
    return Rule(scheme, (found[2] or "") + host, port)


def _configured(variable: str, configured: Mapping[str, tuple[object, bool]]) -> Iterator[Rule]:
    """The addresses in a variable; a default is the author's word, as if it stood in the list."""
    value, chosen = configured.get(variable, (None, False))
    for text in _addresses_in(value):
        try:
            yield replace(_origin(text), operators=chosen, listed=not chosen)
        except ValueError:
            raise ConfigInvalid([Detail(variable, "holds no address of the form https://host:port")]) from None


def _origin(text: str) -> Rule:
    """Read an address, of which only scheme, host and port count, or an entry."""
    if "://" not in text:
        return read_entry(text)
    url = urlsplit(text)
    return read_entry(f"{url.scheme}://{url.netloc.rpartition('@')[2]}")


def _addresses_in(value: object) -> Iterator[str]:
    """The addresses in a configured value: the text itself, or every http(s) address inside a structure."""
    if isinstance(value, (str, AnyUrl)):
        if str(value):
            yield str(value)
        return
    yield from (text for text in _texts(value) if text.lower().startswith(("http://", "https://")))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, (str, AnyUrl)):
        yield str(value)
    elif isinstance(value, BaseModel):
        yield from (text for name in type(value).model_fields for text in _texts(getattr(value, name)))
    elif isinstance(value, Mapping):
        yield from (text for item in value.values() for text in _texts(item))
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from (text for item in value for text in _texts(item))


def _network(host: str, length: int, *, wildcard: bool) -> Network:
    address = address_of(host)
    if address is None or wildcard:
        raise ValueError("only an address has a network length")
    network = ipaddress.ip_network(f"{host}/{length}")
    if length < _WIDEST[network.version]:
        raise ValueError(f"a network must not be wider than /{_WIDEST[network.version]}")
    return network


def _check_wildcard(host: str) -> None:
    if address_of(host) is not None or "." not in host:
        raise ValueError("a wildcard stands before a domain of at least two labels, such as *.acme.test")


def _within(address: Address | None, network: Network) -> bool:
    return address is not None and address.version == network.version and address in network


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
