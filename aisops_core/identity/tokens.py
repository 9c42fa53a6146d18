"""Tokens `aisops_<kind>_<id>_<secret>_<crc>`: pure.

`kind` says what it opens, `id` (public, may stand in logs) finds it, `secret` proves it, `crc` catches typing errors
and lets secret scanners be sure. At rest there is only HMAC-SHA256(pepper, secret); the pepper lives outside
the database.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

from aisops_core.errors import Unauthenticated

TokenKind: TypeAlias = Literal["api", "run"]
SECRET_BYTES: Final = 32
PEPPER_BYTES: Final = 32
_ID_CHARS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH: Final = 12
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CRC_LENGTH: Final = 6
TOKEN_PATTERN: Final = r"aisops_(api|run)_([a-z2-7]{12})_([A-Za-z0-9_-]{43})_([0-9A-Za-z]{6})"  # noqa: S105 - a pattern
_TOKEN: Final = re.compile(TOKEN_PATTERN)


@dataclass(frozen=True, slots=True)
class Token:
    """A token in parts. The secret is kept out of `repr`; `text()` is the only way to see it."""

    kind: TokenKind
    token_id: str
    secret: str = field(repr=False)

    def text(self) -> str:
        """The whole token, to be shown once."""
        body = f"aisops_{self.kind}_{self.token_id}_{self.secret}"
        return f"{body}_{_checksum(body)}"

    def hashed(self, pepper: bytes) -> bytes:
        """What is stored: HMAC-SHA256(pepper, secret), 32 octets."""
        return hmac.digest(pepper, self.secret.encode(), hashlib.sha256)


def mint(kind: TokenKind, random_bytes: Callable[[int], bytes]) -> Token:
    """A new token of 256 random bits.

    Args:
        kind: What it opens.
        random_bytes: A cryptographic source, `secrets.token_bytes`.
    """
    token_id = "".join(_ID_CHARS[octet & 31] for octet in random_bytes(_ID_LENGTH))
    secret = base64.urlsafe_b64encode(random_bytes(SECRET_BYTES)).rstrip(b"=").decode()
    return Token(kind, token_id, secret)


def parse(text: str) -> Token:
    """The parts of a well-formed token.

    Raises:
        Unauthenticated: Malformed, or the checksum does not fit. The text is not repeated in the error.
    """
    match = _TOKEN.fullmatch(text) if len(text) <= 128 and text.isascii() else None
    if match is None:
        raise Unauthenticated
    body, _, checksum = text.rpartition("_")
    if not hmac.compare_digest(_checksum(body), checksum):
        raise Unauthenticated
    return Token(cast("TokenKind", match[1]), match[2], match[3])


def matches(token: Token, stored: bytes | None, pepper: bytes) -> bool:
    """Compare with the stored hash in constant time; an unknown token costs the same as a wrong one."""
    known = stored is not None
    equal = hmac.compare_digest(token.hashed(pepper), stored if stored is not None else bytes(32))
    return equal and known


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CRC_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
