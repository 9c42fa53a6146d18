"""Every failure has a typed reason and says what to do."""

from __future__ import annotations

import pytest

from aisops_protocol.errors import ProtocolError, Refusal
from aisops_runner.errors import UplinkLost
from aisops_runner.uplink.reasons import broken, refusal, transport

URL = "https://core.example.com:443"


@pytest.mark.parametrize(
    ("details", "reason", "advice"),
    [
        ("Ssl handshake failed: CERTIFICATE_VERIFY_FAILED: unable to get local issuer", "tls_untrusted", "tls_ca"),
        ("Hostname Verification Check failed.", "tls_wrong_host", "core_endpoint"),
        ("Cannot check peer: missing selected ALPN property.", "tls_no_alpn", "HTTP/2"),
        ("Ssl handshake failed: WRONG_VERSION_NUMBER", "tls_not_spoken", "TLS"),
        ("connect: Connection refused (111)", "refused", "nothing listens"),
        ("Failed parsing HTTP/2 (Trying to connect an http1.x server (HTTP status 400))", "not_grpc", "gRPC port"),
        ("DNS resolution failed for core", "dns", "resolved"),
        ("HTTP proxy returned response code 407", "proxy_refused", "password"),
        ("HTTP proxy returned response code 403", "proxy_refused", "rules"),
        ("Socket closed", "closed", "certificate"),
        ("Connection timed out", "timeout", "outbound"),
        ("Stream removed (ping timeout)", "silent", "went dead"),
        ("keepalive watchdog timeout", "silent", "went dead"),
    ],
)
def test_what_grpc_says_becomes_advice(details: str, reason: str, advice: str):
    lost = transport("UNAVAILABLE", details, URL)

    assert lost.reason == reason
    assert advice in lost.message
    assert URL in lost.message
    assert not lost.permanent


def test_an_unknown_failure_keeps_its_words():
    lost = transport("INTERNAL", "something new", URL)

    assert lost.reason == "internal"
    assert "something new" in lost.message


@pytest.mark.parametrize("reason", list(Refusal))
def test_every_refusal_of_core_has_advice(reason: Refusal):
    lost = refusal(reason, "", 0)

    assert lost.reason == reason
    assert len(lost.message) > len(reason) + 10


def test_an_overloaded_core_is_not_permanent_and_its_pause_is_kept():
    lost = refusal("OVERLOADED", "busy", 2500)

    assert (lost.retry_after_s, lost.permanent) == (2.5, False)


def test_a_wrong_token_and_a_foreign_server_are_permanent():
    assert transport("UNAUTHENTICATED", "", URL).permanent
    assert transport("UNIMPLEMENTED", "", URL).reason == "not_core"


def test_a_reason_of_a_newer_core_is_shown_with_its_words():
    lost = refusal("LUNCH_BREAK", "back at two", 0)

    assert (lost.reason, lost.permanent) == ("LUNCH_BREAK", False)
    assert "back at two" in lost.message


@pytest.mark.parametrize(
    "lost",
    [refusal("IDENTITY_MISMATCH", "", 0), broken(ProtocolError("IDENTITY_MISMATCH", "a frame names another runner"))],
)
def test_a_token_of_another_runner_is_named_as_that_whichever_end_sees_it_first(lost: UplinkLost):
    assert (lost.reason, lost.permanent) == ("IDENTITY_MISMATCH", True)
    assert "runner_id" in lost.message


def test_any_other_breach_by_core_is_tried_again():
    lost = broken(ProtocolError("SEQ_GAP", "a gap"))

    assert (lost.reason, lost.permanent) == ("SEQ_GAP", False)
