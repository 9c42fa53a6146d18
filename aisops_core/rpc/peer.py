"""Who is calling: everything taken from a gRPC context at entry, copied, so that the context itself is never kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from cryptography import x509

from aisops_core.errors import SessionRefused, Unauthenticated
from aisops_protocol.errors import Refusal

_BEARER = re.compile(r"[Bb]earer +([\x21-\x7e]{1,256})")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The validity of a client certificate. TLS does not look again on a resumed session, so we do."""

    not_before: datetime
    not_after: datetime

    @property
    def until_unix_ms(self) -> int:
        """When it ends, wall clock."""
        return round(self.not_after.timestamp() * 1000)

    def check(self, now: datetime) -> None:
        """Raise SessionRefused EXPIRED or NOT_ACTIVE when the certificate is not valid at `now` (aware, UTC)."""
        if now > self.not_after:
            raise SessionRefused(Refusal.EXPIRED, "The client certificate has expired.")
        if now < self.not_before:
            raise SessionRefused(Refusal.NOT_ACTIVE, "The client certificate is not valid yet.")


def token_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the bearer token of request metadata. Raises Unauthenticated unless there is exactly one."""
    values = [value for key, value in metadata if key == "authorization"]
    if len(values) != 1 or not isinstance(values[0], str) or (found := _BEARER.fullmatch(values[0])) is None:
        raise Unauthenticated
    return found.group(1)


def address_of(peer: str) -> str:
    """Return `host:port` of what gRPC says of a caller (`ipv4:192.0.2.1:50000`, `ipv6:%5B::1%5D:50000`)."""
    scheme, _, address = unquote(peer).partition(":")
    return address if scheme in ("ipv4", "ipv6") else peer


def certificate_of(auth_context: Mapping[str, Iterable[bytes]]) -> Certificate | None:
    """Return the validity of the client certificate in a gRPC auth context, None when there is no certificate.

    Raises SessionRefused when there is one that cannot be read.
    """
    pem = next(iter(auth_context.get("x509_pem_cert", ())), None)
    if not pem:
        return None
    try:
        leaf = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise SessionRefused(Refusal.NOT_ENROLLED, "The client certificate cannot be read.") from None
    return Certificate(leaf.not_valid_before_utc, leaf.not_valid_after_utc)
