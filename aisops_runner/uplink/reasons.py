"""Why a stream failed, as a typed reason and a sentence that says what to do. Pure: one table."""

from __future__ import annotations

from typing import Final

from aisops_protocol.errors import Code, ProtocolError, Refusal
from aisops_runner.errors import UplinkLost

PERMANENT: Final = frozenset(
    {
        Refusal.UNAUTHENTICATED,
        Refusal.EXPIRED,
        Refusal.NOT_ACTIVE,
        Refusal.REVOKED,
        Refusal.BANNED,
        Refusal.NOT_ENROLLED,
        Refusal.GENERATION_STALE,
        Refusal.TENANT_SUSPENDED,
        Refusal.PROTOCOL_UNSUPPORTED,
    }
)

_ADVICE: Final = {
    Refusal.UNAUTHENTICATED: "Core does not accept the runner token; check it, and that it belongs to this runner_id "
    "and tenant_id",
    Refusal.EXPIRED: "the credential has expired; create a new runner token",
    Refusal.NOT_ACTIVE: "the credential is not valid yet; check this machine's clock",
    Refusal.REVOKED: "the credential was revoked; the outbox is kept; ask the operator of Core for a new runner token",
    Refusal.BANNED: "this Runner was banned; the outbox is kept; ask the operator of Core",
    Refusal.NOT_ENROLLED: "Core does not know this runner_id in this tenant; create it with `aisops runner create`",
    Refusal.GENERATION_STALE: "a newer copy of this Runner has renewed the credential; stop the clone",
    Refusal.DUPLICATE_INSTANCE: "another Runner with the same runner_id is connected; stop one of the two",
    Refusal.TENANT_SUSPENDED: "the tenant is suspended; ask the operator of Core",
    Refusal.PROTOCOL_UNSUPPORTED: "Core speaks another protocol version; upgrade the older of the two",
    Refusal.CLOCK_SKEW: "this machine's clock differs too much from Core's; set it",
    Refusal.OVERLOADED: "Core is overloaded and asks to come back later",
}

_OTHER_IDENTITY: Final = (
    "the runner token belongs to another Runner; check runner_id and tenant_id, or create a token for this one with "
    "`aisops runner token`"
)

_DEAD: Final = (
    "the line went dead without being closed; a firewall or a NAT on the way may have forgotten the connection"
)

# Text gRPC puts into the details of UNAVAILABLE → our reason, and what to do. The first match counts.
_TRANSPORT: Final = (
    (
        "CERTIFICATE_VERIFY_FAILED",
        "tls_untrusted",
        "Core's certificate is not trusted here; give its CA with tls_ca (a proxy that inspects TLS shows its own CA)",
    ),
    (
        "Hostname Verification Check failed",
        "tls_wrong_host",
        "Core's certificate is for another host name; check core_endpoint",
    ),
    (
        "ALPN",
        "tls_no_alpn",
        "the peer does not offer HTTP/2: this is not Core's gRPC port, or a proxy on the way removes ALPN",
    ),
    ("WRONG_VERSION_NUMBER", "tls_not_spoken", "the peer does not speak TLS; use http:// or the TLS port of Core"),
    ("HTTP proxy returned response code 407", "proxy_refused", "the proxy wants a user and a password"),
    ("HTTP proxy returned", "proxy_refused", "the proxy does not let the connection through; check its rules"),
    (
        "Trying to connect an http1.x server",
        "not_grpc",
        "that port speaks HTTP/1; core_endpoint must be Core's gRPC port (50051 unless it was changed)",
    ),
    ("DNS resolution failed", "dns", "the host name cannot be resolved; check core_endpoint and DNS"),
    ("Domain name not found", "dns", "the host name cannot be resolved; check core_endpoint and DNS"),
    ("Connection refused", "refused", "nothing listens there; check core_endpoint (or the proxy), and that Core runs"),
    ("No route to host", "unreachable", "no way leads there; check the network and the firewall's outbound rules"),
    ("Network is unreachable", "unreachable", "no way leads there; check the network"),
    ("FD Shutdown", "closed", "the connection was closed during the handshake"),
    ("ping timeout", "silent", _DEAD),
    ("keepalive watchdog", "silent", _DEAD),
    ("timed out", "timeout", "no answer; a firewall may drop the packets: allow outbound traffic to Core"),
    ("Timeout", "timeout", "no answer; a firewall may drop the packets: allow outbound traffic to Core"),
    (
        "Socket closed",
        "closed",
        "the connection was closed; when it never opens, Core may demand a client certificate (tls_cert, tls_key) or "
        "reject this one",
    ),
    ("Connection reset", "closed", "the connection was reset on the way"),
)


def refusal(reason: str, message: str, retry_after_ms: int) -> UplinkLost:
    """A session that Core refused or ended, by its own code.

    Args:
        reason: One of `Refusal`, or a code this version does not know.
        message: Core's words; may be empty.
        retry_after_ms: Pause Core asks for; 0: none.
    """
    if reason == Code.IDENTITY_MISMATCH:
        return _other_identity()
    known = reason in Refusal.__members__
    advice = _ADVICE.get(Refusal(reason), "") if known else ""
    text = ": ".join(part for part in (reason, advice or message) if part)
    permanent = known and Refusal(reason) in PERMANENT
    return UplinkLost(text, reason=reason, retry_after_s=retry_after_ms / 1000, permanent=permanent)


def broken(error: ProtocolError) -> UplinkLost:
    """A frame from Core that the contract forbids. Another Runner's name in it means: this token is that Runner's."""
    if error.code == Code.IDENTITY_MISMATCH:
        return _other_identity()
    return UplinkLost(f"Core broke the contract: {error}", reason=error.code)


def _other_identity() -> UplinkLost:
    code = Code.IDENTITY_MISMATCH.value
    return UplinkLost(f"{code}: {_OTHER_IDENTITY}", reason=code, permanent=True)


def transport(status: str, details: str, endpoint: str) -> UplinkLost:
    """A stream that failed without a word from Core.

    Args:
        status: gRPC status name.
        details: gRPC's details.
        endpoint: Where we dialed, for the sentence.
    """
    if status == "UNAUTHENTICATED":
        return refusal(Refusal.UNAUTHENTICATED, details, 0)
    if status == "UNIMPLEMENTED":
        return UplinkLost(
            f"{endpoint} speaks gRPC but is no AIsOpsFlow Core; check core_endpoint", reason="not_core", permanent=True
        )
    for needle, reason, advice in _TRANSPORT:
        if needle in details:
            return UplinkLost(f"cannot reach Core at {endpoint}: {advice}", reason=reason)
    return UplinkLost(f"the stream to {endpoint} ended: {status} {details}".strip(), reason=status.lower())
