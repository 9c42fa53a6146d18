"""The Slack stand-in answers as Slack documents it, seen through Slack's own client."""

import json
from pathlib import Path

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from demo.providers import slack_rules
from demo.providers.faults import Fault, FaultKind
from demo.providers.slack import SlackStandIn

pytestmark = pytest.mark.integration
SPECS = Path(__file__).resolve().parents[3].parent / "shared" / "specs"
needs_specs = pytest.mark.skipif(not SPECS.is_dir(), reason="the provider specifications are not on this machine")


@pytest.fixture
async def slack():
    async with SlackStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def client(slack):
    return AsyncWebClient(token=slack.token, base_url=slack.api_url, retry_handlers=[])


async def test_a_message_comes_back_with_channel_id_and_ts(slack, client):
    answer = await client.chat_postMessage(channel="#ops", text="디스크 부족 🚨 a &lt; b")
    assert (answer["channel"], answer["ts"]) == ("C0000000001", slack.received[0].message_id)
    assert slack.received[0].text == "디스크 부족 🚨 a < b"
    assert slack.received[0].unknown == ()


async def test_form_and_json_bodies_are_the_same_message(slack, client):
    await client.api_call(
        "chat.postMessage",
        data={"channel": "C0000000001", "text": "t", "blocks": json.dumps([{"type": "divider"}]), "mrkdwn": "true"},
    )
    await client.api_call(
        "chat.postMessage",
        json={"channel": "C0000000001", "text": "t", "blocks": [{"type": "divider"}], "mrkdwn": True},
    )
    first, second = (dict(message.arguments) for message in slack.received)
    first.pop("token", None)
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"channel": "#nowhere", "text": "t"}, "channel_not_found"),
        ({"channel": "#ops"}, "no_text"),
        ({"channel": "#ops", "text": "t", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"channel": "#ops", "text": "t", "blocks": [{"type": "nonsense"}]}, "invalid_blocks"),
        (
            {
                "channel": "#ops",
                "text": "t",
                "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2700}}] * 5,
            },
            "msg_blocks_too_long",
        ),
        ({"channel": "#ops", "text": "t", "markdown_text": "t"}, "markdown_text_conflict"),
        ({"channel": "#ops", "markdown_text": "t" * 12_001}, "msg_too_long"),
        ({"channel": "#ops", "text": "t", "metadata": {"event_type": ""}}, "invalid_metadata_schema"),
    ],
)
async def test_what_slack_refuses_is_refused(slack, client, arguments, error):
    with pytest.raises(SlackApiError) as refused:
        await client.api_call("chat.postMessage", json=arguments)
    assert refused.value.response["error"] == error
    assert slack.received == []


async def test_a_wrong_token_and_an_unknown_method_are_refused(slack):
    stranger = AsyncWebClient(token="demo-other", base_url=slack.api_url, retry_handlers=[])
    with pytest.raises(SlackApiError, match="invalid_auth"):
        await stranger.auth_test()
    known = AsyncWebClient(token=slack.token, base_url=slack.api_url, retry_handlers=[])
    assert (await known.auth_test())["ok"]
    with pytest.raises(SlackApiError, match="unknown_method"):
        await known.api_call("chat.nonsense")


async def test_a_rate_limit_names_its_seconds_and_a_server_error_is_not_json(slack, client):
    slack.faults.add(Fault(FaultKind.RATE_LIMIT, retry_after_s=7), Fault(FaultKind.SERVER_ERROR, status=503))
    with pytest.raises(SlackApiError) as limited:
        await client.chat_postMessage(channel="#ops", text="t")
    assert (limited.value.response.status_code, limited.value.response.headers["Retry-After"]) == (429, "7")
    with pytest.raises(SlackApiError) as broken:
        await client.chat_postMessage(channel="#ops", text="t")
    assert broken.value.response.status_code == 503


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [(FaultKind.DROP_BEFORE_ACCEPT, 0), (FaultKind.DROP_AFTER_ACCEPT, 1)],
    ids=lambda value: str(value),
)
async def test_a_drop_happens_on_the_side_of_acceptance_that_was_asked_for(slack, client, kind, accepted):
    slack.faults.add(Fault(kind))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.chat_postMessage(channel="#ops", text="t")
    assert (slack.calls, len(slack.received)) == (1, accepted)


@needs_specs
def test_the_arguments_are_those_of_slacks_specifications():
    published = json.loads((SPECS / "slack_web_openapi_v2.json").read_text())["paths"]["/chat.postMessage"]["post"]
    from_sdk = json.loads((SPECS / "slack_methods_from_sdk.json").read_text())["methods"]["chat.postMessage"]
    documented = {parameter["name"] for parameter in published["parameters"] + from_sdk["params"]}
    assert documented <= slack_rules.ARGUMENTS
    assert slack_rules.ARGUMENTS - documented <= {"unfurl_app_links"}


@needs_specs
async def test_answers_use_only_fields_of_slacks_samples(slack, client):
    samples = SPECS / "slack_samples" / "api"
    post = json.loads((samples / "chat.postMessage.json").read_text())
    answer = (
        await client.chat_postMessage(channel="#ops", text="t", metadata={"event_type": "a", "event_payload": {}})
    ).data
    assert set(answer) <= set(post)
    assert set(answer["message"]) <= set(post["message"])
    assert set((await client.auth_test()).data) <= set(json.loads((samples / "auth.test.json").read_text()))
