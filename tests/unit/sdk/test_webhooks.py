"""Webhooks: their paths, their keys, and the first verifier."""

import hashlib
import hmac
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk import DefinitionError, InvalidRequest, Plugin, Secret, Unauthorized, WebhookRequest
from aisops_plugin_sdk.verifiers import slack_signature
from aisops_plugin_sdk.webhooks import check_key, check_path

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
NOW = 1_531_420_618
BODY = b"token=xyzz0WbapA4vBCDEFasx0q6G&payload=%7B%7D"
VERIFY = slack_signature(lambda config: config.secret)


def signature(body: bytes, timestamp: object, secret: str = SECRET) -> str:
    """Slack's signature, computed the long way."""
    base = b"v0:" + str(timestamp).encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


def check(body: bytes = BODY, timestamp: object = NOW, given: str | None = None, *, now: float = NOW, secret=SECRET):
    headers = {"x-slack-request-timestamp": str(timestamp)}
    headers["x-slack-signature"] = signature(body, timestamp) if given is None else given
    request = WebhookRequest("POST", "/slack/events", "", headers, body)
    known = None if secret is None else Secret(secret)
    VERIFY(SimpleNamespace(config=SimpleNamespace(secret=known), clock=lambda: now), request)


@pytest.mark.parametrize("off", [0, 300, -300])
def test_a_signed_request_of_the_last_five_minutes_passes(off):
    check(now=NOW + off)


@pytest.mark.parametrize(
    "wrong",
    [
        {"now": NOW + 301},
        {"now": NOW - 301},
        {"given": ""},
        {"given": "v0="},
        {"given": signature(BODY, NOW).upper()},
        {"given": signature(BODY, NOW, "another")},
        {"given": signature(BODY + b"x", NOW)},
        {"given": signature(BODY, NOW).removeprefix("v0=")},
        {"given": "v0=\u00e9"},
        {"timestamp": ""},
        {"timestamp": "1e9"},
        {"timestamp": "\u0661"},
        {"timestamp": "9" * 400},
        {"secret": None},
    ],
)
def test_anything_else_is_refused_in_the_same_words(wrong):
    with pytest.raises(Unauthorized, match=r"^unauthorized$"):
        check(**wrong)


@given(st.binary(max_size=60), st.integers(0, 10**10))
def test_the_signature_is_over_the_raw_bytes(body, timestamp):
    check(body, timestamp, now=timestamp)
    with pytest.raises(Unauthorized):
        check(body + b"\0", timestamp, signature(body, timestamp), now=timestamp)


@pytest.mark.parametrize("path", ["/slack/interactive", "/a", "/v2/x", "/hooks/a.b~c_d-e/1"])
def test_a_plain_path_is_a_webhook(path):
    check_path(path)


@pytest.mark.parametrize(
    "path",
    ["", "a", "/", "/a/", "/a//b", "/a?b", "/a%2fb", "/..", "/a/../b", "/.well-known/x", "/send", "/probe", "/v1",
     "/v1/x", "/describe", "/healthz", "/readyz", "/kakao/alimtalk/send", "/" + "x" * 65, "/a" * 9, "/\u00e9"],
)  # fmt: skip
def test_an_odd_path_or_one_of_our_own_is_refused(path):
    with pytest.raises(DefinitionError, match="webhook"):
        Plugin("acme").webhook(path, verify=VERIFY)


def test_a_path_is_registered_once():
    plugin = Plugin("acme")
    plugin.webhook("/a", verify=VERIFY)(lambda ctx, request: None)
    with pytest.raises(DefinitionError, match="twice"):
        plugin.webhook("/a", verify=VERIFY)(lambda ctx, request: None)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9", "a\n", None, 5])
def test_a_key_is_visible_ascii(key):
    with pytest.raises(ValueError, match="key"):
        check_key(key)


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body):
    request = WebhookRequest("POST", "/a", "", {}, body)
    for read in (request.json, request.form):
        try:
            read()
        except InvalidRequest:
            continue
