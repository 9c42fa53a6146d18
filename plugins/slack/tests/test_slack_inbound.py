"""What Slack sends: the handshake, and buttons that decide approvals. The texts are the original product's."""

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk import InvalidRequest, WebhookRequest
from aisops_plugin_slack.inbound import answer_event, read_interaction

ACTION = {"action_id": "approve", "value": json.dumps({"executionId": "ex 1", "stepId": "s1"})}
PRESS = {"type": "block_actions", "user": {"id": "U1"}, "trigger_id": "t-1", "actions": [ACTION]}


def request(body: bytes) -> WebhookRequest:
    return WebhookRequest("POST", "/slack/interactive", "", {}, body)


def press(payload: object) -> WebhookRequest:
    return request(urlencode({"payload": payload if isinstance(payload, str) else json.dumps(payload)}).encode())


def test_the_handshake_is_answered_with_its_challenge():
    reply = answer_event(request(b'{"type":"url_verification","challenge":"3eZbr"}'))
    assert (json.loads(reply.body), reply.status, reply.content_type) == (
        {"challenge": "3eZbr"},
        200,
        "application/json",
    )


def test_other_events_are_taken():
    assert answer_event(request(b'{"type":"event_callback"}')).body == b"OK"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"type":"url_verification"}'])
def test_what_is_no_event_is_refused(body):
    with pytest.raises(InvalidRequest):
        answer_event(request(body))


@pytest.mark.parametrize(("action_id", "decision"), [("approve", "approved"), ("reject", "rejected")])
def test_a_press_is_a_decision(action_id, decision):
    told = read_interaction(press(PRESS | {"actions": [ACTION | {"action_id": action_id}]}))
    assert told.kind == "slack.approval_resolved"
    assert told.facts == {"execution_id": "ex 1", "step_id": "s1", "decision": decision, "actor_ref": "slack:U1"}
    assert (told.reply.status, told.reply.body) == (200, b"")


def test_the_same_press_has_the_same_key_and_another_press_another():
    assert read_interaction(press(PRESS)).key == read_interaction(press(PRESS)).key
    assert read_interaction(press(PRESS)).key != read_interaction(press(PRESS | {"trigger_id": "t-2"})).key


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ("{", "invalid payload"),
        ("[1]", "invalid payload"),
        ("", "missing payload"),
        (PRESS | {"actions": []}, "invalid interactive action"),
        (PRESS | {"actions": [ACTION | {"action_id": "delete"}]}, "invalid interactive action"),
        (PRESS | {"user": {}}, "invalid interactive action"),
        (PRESS | {"actions": [ACTION | {"value": "{"}]}, "invalid action value"),
        (PRESS | {"actions": [ACTION | {"value": 5}]}, "invalid action value"),
        (PRESS | {"actions": [ACTION | {"value": '{"executionId":"x"}'}]}, "missing approval keys"),
        (PRESS | {"actions": [ACTION | {"value": '{"executionId":"x","stepId":""}'}]}, "missing approval keys"),
    ],
)
def test_what_is_no_press_is_said_in_the_originals_words(payload, text):
    with pytest.raises(InvalidRequest, match=f"^{text}$"):
        read_interaction(press(payload))


@given(st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda one: st.lists(one, max_size=2) |
       st.dictionaries(st.sampled_from(["actions", "user", "id", "action_id", "value"]), one, max_size=4)))  # fmt: skip
def test_any_payload_is_a_press_or_refused(payload):
    try:
        read_interaction(press(payload))
    except InvalidRequest:
        return
