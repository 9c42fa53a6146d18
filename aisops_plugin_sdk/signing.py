"""Signatures of internal HTTP calls: HMAC-SHA256 over time, method, raw target and raw body. Pure; time is passed in.

The algorithm is the original product's (`X-Internal-Auth`, `X-Internal-Timestamp`, `X-Internal-Signature`); ours adds
an optional `X-Internal-Nonce`, which is not part of the signed text, remembered so that a captured call cannot be
replayed as it was. Targets are signed as sent: percent-encoded, never decoded.
"""

import base64
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterable

from aisops_plugin_sdk.errors import SignatureRefused

AUTH_HEADER = "X-Internal-Auth"
TIMESTAMP_HEADER = "X-Internal-Timestamp"
SIGNATURE_HEADER = "X-Internal-Signature"
NONCE_HEADER = "X-Internal-Nonce"
TOKEN_ENV = ("AISOPSFLOW_INTERNAL_AUTH_TOKEN", "INTERNAL_AUTH_TOKEN")
MAX_SKEW_S = 300
NONCE_LIFETIME_S = 2.0 * MAX_SKEW_S

_NAMES = {name.lower() for name in (AUTH_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER, NONCE_HEADER)}
_TIMESTAMP = re.compile(r"[0-9]{1,15}", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}", re.ASCII)


def sign(token: str, timestamp: str, method: str, raw_target: str, body: bytes) -> str:
    """Compute the signature header's value.

    Args:
        token: the shared token, the key of the HMAC.
        timestamp: unix seconds as text, exactly as the timestamp header carries it.
        method: the HTTP method, any case.
        raw_target: path and query as sent; text after a second "?" is not signed, an empty path signs as "/".
        body: the raw bytes of the body.

    Returns:
        `sha256=` and the base64 of the digest.
    """
    path, *rest = raw_target.split("?")
    query = "?" + rest[0] if rest and rest[0] else ""
    head = f"{timestamp}\n{method.upper()}\n{path or '/'}\n{query}\n"
    message = head.encode("utf-8", "surrogateescape") + body
    digest = hmac.digest(token.encode("utf-8", "surrogateescape"), message, "sha256")
    return "sha256=" + base64.b64encode(digest).decode("ascii")


def headers(
    token: str, *, now: float, method: str, raw_target: str, body: bytes, nonce: str | None = None
) -> dict[str, str]:
    """Build the headers of one signed call, `Content-Type` included.

    Args:
        token: the shared token.
        now: unix seconds.
        method: the HTTP method.
        raw_target: path and query as they will be sent.
        body: the raw bytes of the body.
        nonce: a value never used before, or None to send none.
    """
    timestamp = str(int(now))
    signed = {
        "Content-Type": "application/json",
        AUTH_HEADER: token,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: sign(token, timestamp, method, raw_target, body),
    }
    if nonce is not None:
        signed[NONCE_HEADER] = nonce
    return signed


class NonceMemory:
    """Remembers the nonces seen in the last ten minutes, at most `capacity` of them (the oldest go first)."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._seen: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def is_new(self, nonce: str, now: float) -> bool:
        """Record a nonce and tell whether it was unknown. `now` is in unix seconds."""
        while self._seen and (
            len(self._seen) >= self._capacity or next(iter(self._seen.values())) < now - NONCE_LIFETIME_S
        ):
            self._seen.popitem(last=False)
        if nonce in self._seen:
            return False
        self._seen[nonce] = now
        return True


class Verifier:
    """Checks the signature of incoming calls against one token.

    Args:
        token: the shared token; None or empty means that every call is refused with 503.
        nonces: where nonces are remembered; None makes an own memory.
    """

    def __init__(self, token: str | None, *, nonces: NonceMemory | None = None) -> None:
        self._token = token or ""
        self._nonces = NonceMemory() if nonces is None else nonces

    def __repr__(self) -> str:
        return f"Verifier(configured={bool(self._token)})"

    def verify(
        self, received: Iterable[tuple[str, str]], *, now: float, method: str, raw_target: str, body: bytes
    ) -> None:
        """Accept the call or raise. Order: 503 no token, 401 token, 401 time, 401 signature, 409 nonce.

        Args:
            received: header names and values as received, repetitions included.
            now: unix seconds; 300 s of difference pass, 301 s do not.
            method: the HTTP method.
            raw_target: path and query as received, not decoded.
            body: the raw bytes.

        Raises:
            SignatureRefused: with the status and code to answer. The text never says which check failed.
        """
        if not self._token:
            raise SignatureRefused("internal auth is not configured", code="auth_not_configured", http_status=503)
        found = _single(received)
        token, timestamp = found.get(AUTH_HEADER.lower()), found.get(TIMESTAMP_HEADER.lower())
        signature, nonce = found.get(SIGNATURE_HEADER.lower()), found.get(NONCE_HEADER.lower())
        if token is None or timestamp is None or signature is None:
            raise _unauthorized()
        if not _equal(token, self._token) or not _fresh(timestamp, now):
            raise _unauthorized()
        if not _equal(signature, sign(self._token, timestamp, method, raw_target, body)):
            raise _unauthorized()
        if nonce is None:
            return
        if not _NONCE.fullmatch(nonce):
            raise _unauthorized()
        if not self._nonces.is_new(nonce, now):
            raise SignatureRefused("this call was received before", code="replayed", http_status=409)


def _unauthorized() -> SignatureRefused:
    """Build the one refusal that all failed checks share."""
    return SignatureRefused("unauthorized", code="unauthorized", http_status=401)


def _single(received: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Pick our headers, refusing one that was sent twice."""
    found: dict[str, str] = {}
    for name, value in received:
        key = name.lower()
        if key not in _NAMES:
            continue
        if key in found:
            raise _unauthorized()
        found[key] = value
    return found


def _equal(left: str, right: str) -> bool:
    """Compare in a time that does not depend on where the texts differ."""
    return hmac.compare_digest(left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape"))


def _fresh(timestamp: str, now: float) -> bool:
    """Tell whether the timestamp is plain digits and at most 300 s away."""
    return _TIMESTAMP.fullmatch(timestamp) is not None and abs(int(now) - int(timestamp)) <= MAX_SKEW_S
