"""Mail addresses: what is accepted as one, and how a list of them is written. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

ADDRESS_MAX = 320

_ADDRESS = re.compile(r"([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64})@([^\s@<>\"'(),:;\\\[\]]{1,253})")
_NAMED = re.compile(r"(?P<name>[^<>\"\x00-\x1f\x7f]{0,200})<(?P<address>[^<>]*)>")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name shown beside it; `address` is ASCII, its domain in IDNA form."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        """The part after the `@`."""
        return self.address.rpartition("@")[2]


def mailbox(text: str) -> Mailbox:
    """Read `user@example.com` or `Name <user@example.com>`.

    Raises:
        ValueError: it is neither; line breaks and control characters are refused everywhere.
    """
    stripped = text.strip(" ")
    named = _NAMED.fullmatch(stripped)
    address = named.group("address") if named else stripped
    name = named.group("name").strip() if named else ""
    found = _ADDRESS.fullmatch(address)
    if found is None or len(address) > ADDRESS_MAX:
        raise ValueError("is not a mail address of the form user@example.com or Name <user@example.com>")
    return Mailbox(f"{found.group(1)}@{_domain(found.group(2))}", name)


def _domain(text: str) -> str:
    try:
        domain = text.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("has a domain that is not valid") from None
    if not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise ValueError("has a domain that is not valid")
    return domain


def mailboxes(given: str | Iterable[str]) -> list[Mailbox]:
    """Read one address, several in one text separated by commas, or a list; repetitions are dropped.

    Raises:
        ValueError: one of them is not an address.
    """
    texts = given.split(",") if isinstance(given, str) else list(given)
    by_address: dict[str, Mailbox] = {}
    for text in texts:
        box = mailbox(text)
        by_address.setdefault(box.address.lower(), box)
    return list(by_address.values())
