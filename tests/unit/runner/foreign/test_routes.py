"""Which route serves a capability, in whose words, and what is not even sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.adapters.foreign.routes import has_route, is_path, missing, request, several, spellings


@pytest.mark.parametrize(
    ("capability", "body", "path"),
    [
        ("slack.send", {}, "/send"),
        ("send.slack", {}, "/send"),
        ("slack.approval", {}, "/send"),
        ("approval.slack", {}, "/send"),
        ("email.send", {}, "/send"),
        ("telegram.send", {}, "/send"),
        ("hallway.send", {}, "/send"),
        ("kakao.alimtalk.send", {}, "/kakao/alimtalk/send"),
        ("kakao.delivery.simulate", {}, "/simulate"),
        ("db.read", {}, "/query/read"),
        ("db.explain", {}, "/query/explain"),
        ("gmail.send", {}, "/gmail/messages/send"),
        ("gmail.read", {"query": "x"}, "/gmail/messages/list"),
        ("gmail.read", {"message_id": "x"}, "/gmail/messages/get"),
        ("microsoft.mail.read", {"user_id": "x"}, "/mail/messages/list"),
        ("microsoft.mail.send", {}, "/mail/messages/send"),
    ],
)
def test_the_originals_routes(capability: str, body: dict[str, str], path: str) -> None:
    assert has_route(capability, {})
    assert request(capability, json.dumps(body).encode(), {})[0] == path


def test_the_operators_route_wins_in_either_spelling() -> None:
    assert request("acme.count", b"{}", {"acme.count": "/count"}) == ("/count", b"{}")
    assert request("send.slack", b"{}", {"slack.send": "/v2/send"})[0] == "/v2/send"
    assert not has_route("acme.count", {})
    assert not has_route("acme.mail.send", {}), "only a plain channel has /send"
    assert not has_route("db.query", {}), "the original serves it by stdio-json alone"


@pytest.mark.parametrize(
    ("capability", "given", "sent"),
    [
        ("slack.send", {"target": "#ops", "text": "x"}, {"target": "#ops", "text": "x"}),
        ("email.send", {"target": "a@b.c", "text": "x"}, {"to": "a@b.c", "text": "x", "subject": "Notification"}),
        ("email.send", {"target": "a@b.c", "text": "x", "subject": "s"}, {"to": "a@b.c", "text": "x", "subject": "s"}),
        ("send.email", {"to": "a@b.c", "text": "x"}, {"to": "a@b.c", "text": "x"}),
        ("telegram.send", {"target": 42, "text": "x"}, {"chat_id": 42, "text": "x"}),
        ("telegram.send", {"chat_id": 1, "target": 2}, {"chat_id": 1, "target": 2}),
        ("telegram.send", [1], [1]),
    ],
)
def test_target_and_text_are_understood_by_every_channel(capability: str, given: object, sent: object) -> None:
    assert json.loads(request(capability, json.dumps(given).encode(), {})[1]) == sent


def test_spellings() -> None:
    assert spellings("slack.send") == spellings("send.slack") == ("slack.send", "send.slack")
    assert spellings("db.read") == ("db.read",)


GOOD = {"tenant_id": "t", "provider_id": "p", "template_id": "x", "to": ["010"]}


@pytest.mark.parametrize(
    "change", [{"tenant_id": ""}, {"template_id": 5}, {"to": []}, {"to": "010"}, {"to": [" ", 5]}, {"to": None}]
)
def test_what_the_kakao_provider_would_answer_with_a_500_is_not_sent(change: dict[str, object]) -> None:
    assert not missing("kakao.alimtalk.send", json.dumps(GOOD).encode())
    assert missing("kakao.alimtalk.send", json.dumps(GOOD | change).encode())
    assert missing("kakao.alimtalk.send", b"[]")
    assert not missing("slack.send", json.dumps(change).encode()), "the others say it clearly themselves"


def test_a_message_to_several_has_several_effects() -> None:
    assert several("kakao.alimtalk.send", json.dumps(GOOD | {"to": ["1", "2"]}).encode())
    assert not several("kakao.alimtalk.send", json.dumps(GOOD).encode())
    assert not several("slack.send", json.dumps({"to": ["1", "2"]}).encode())


@pytest.mark.parametrize("text", ["", "send", "/a?b", "/a#b", "/a b", "/ü", "/../x", "/a/..", "/a\r\nX: y", "//é"])
def test_what_is_no_path(text: str) -> None:
    assert not is_path(text)
    assert is_path("/acme/v1/%20do")


@given(st.sampled_from(["email.send", "telegram.send", "gmail.read", "kakao.alimtalk.send"]), st.binary(max_size=80))
def test_any_body_has_a_route(capability: str, body: bytes) -> None:
    path, sent = request(capability, body, {})
    assert path.startswith("/")
    assert sent == body or json.loads(sent)
    missing(capability, body)
    several(capability, body)
