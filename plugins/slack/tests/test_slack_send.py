"""slack.send against the Slack stand-in, through the real sidecar server."""

from contextlib import asynccontextmanager

import aiohttp.web
import pytest

from aisops_plugin_sdk.testing import PluginTest
from aisops_plugin_slack import plugin
from demo.providers.certificate import make_loopback_tls
from demo.providers.faults import Fault, FaultKind
from demo.providers.slack import SlackStandIn

pytestmark = pytest.mark.integration
TEXT = "디스크 부족 🚨 <no> writes & more"


@pytest.fixture
async def slack():
    async with SlackStandIn() as stand_in:
        yield stand_in


def served(slack, **env):
    return PluginTest(plugin, env={"SLACK_BOT_TOKEN": slack.token, "SLACK_API_BASE_URL": slack.api_url, **env})


async def test_the_message_is_shown_to_the_letter_and_carries_the_key(slack):
    async with served(slack) as t:
        answer = await t.invoke("slack.send", {"target": "#ops", "text": TEXT}, idempotency_key="key-1")
    (message,) = slack.received
    assert (message.text, message.raw_text) == (TEXT, "디스크 부족 🚨 &lt;no&gt; writes &amp; more")
    assert message.arguments["metadata"]["event_payload"] == {"idem": "key-1"}
    assert answer.result["refs"] == {"channel": "C0000000001", "ts": message.message_id}
    assert answer.result["message_id"] == message.message_id


async def test_a_reply_lands_in_its_thread_and_a_lost_parent_is_told(slack):
    async with served(slack) as t:
        parent = await t.invoke("slack.send", {"target": "#ops", "text": "parent"})
        ts = parent.result["message_id"]
        reply = await t.invoke("slack.send", {"target": "#ops", "text": "reply", "thread_ts": ts})
        orphan = await t.invoke("slack.send", {"target": "#ops", "text": "reply", "thread_ts": "1.000001"})
    assert reply.result["refs"]["thread_ts"] == ts
    assert "thread_ts" not in orphan.result["refs"]
    assert ["parent is gone" in record.message for record in t.logs] == [True]


async def test_refused_blocks_fall_back_to_the_text_alone(slack):
    body = {"target": "#ops", "text": TEXT, "blocks": [{"type": "nonsense"}]}
    async with served(slack) as t:
        answer = await t.invoke("slack.send", body)
    assert answer.result["refs"]["blocks_refused"] == "invalid_blocks"
    (message,) = slack.received
    assert (message.text, "blocks" in message.arguments) == (TEXT, False)


@pytest.mark.parametrize(
    ("fault", "status", "code", "retryable", "ambiguous"),
    [
        (Fault(FaultKind.REFUSE, code="channel_not_found"), 422, "channel_not_found", False, False),
        (Fault(FaultKind.REFUSE, code="token_revoked"), 401, "token_revoked", False, False),
        (Fault(FaultKind.REFUSE, code="msg_too_long"), 400, "msg_too_long", False, False),
        (Fault(FaultKind.REFUSE, code="something_new"), 502, "something_new", False, False),
        (Fault(FaultKind.REFUSE, code="service_unavailable"), 503, "service_unavailable", True, False),
        (Fault(FaultKind.REFUSE, code="fatal_error"), 502, "ambiguous", False, True),
        (Fault(FaultKind.SERVER_ERROR, status=500), 502, "ambiguous", False, True),
        (Fault(FaultKind.SERVER_ERROR, status=503), 503, "unavailable", True, False),
    ],
    ids=lambda value: value.code or str(value.status) if isinstance(value, Fault) else None,
)
async def test_each_refusal_comes_out_as_its_class(slack, fault, status, code, retryable, ambiguous):
    slack.faults.add(fault)
    async with served(slack) as t:
        answer = await t.invoke("slack.send", {"target": "#ops", "text": TEXT})
    assert (answer.status, answer.code, answer.retryable, answer.ambiguous) == (status, code, retryable, ambiguous)
    assert (slack.calls, slack.received) == (1, [])


async def test_a_wrong_token_fails_the_check_and_the_call(slack):
    async with served(slack, SLACK_BOT_TOKEN="demo-other-token") as t:
        check = await t.get("/v1/config/check")
        answer = await t.invoke("slack.send", {"target": "#ops", "text": TEXT})
    assert (check.status, check.code) == (401, "invalid_auth")
    assert (answer.status, answer.code) == (401, "invalid_auth")


@pytest.mark.parametrize("page", ["hello", "<html>sign in</html>", "[1]", ""])
@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "application/json"])
async def test_an_answer_that_is_not_slacks_is_ambiguous(slack, page, content_type):
    async def portal(_request):
        return aiohttp.web.Response(text=page, content_type=content_type)

    async with one_route_server(portal) as url, served(slack, SLACK_API_BASE_URL=f"{url}/api") as t:
        answer = await t.invoke("slack.send", {"target": "#ops", "text": TEXT})
    assert (answer.ambiguous, answer.retryable) == (True, False), answer.document


async def test_an_untrusted_certificate_is_told_apart_and_nothing_is_sent(slack, tmp_path):
    async def never(_request):
        raise AssertionError("the request left")

    tls = make_loopback_tls(tmp_path)
    async with one_route_server(never, tls.context) as url, served(slack, SLACK_API_BASE_URL=f"{url}/api") as t:
        answer = await t.invoke("slack.send", {"target": "#ops", "text": TEXT})
    assert (answer.status, answer.code, answer.ambiguous) == (502, "certificate_untrusted", False)


async def test_a_redirect_is_not_followed_with_the_token(slack):
    seen = []

    async def elsewhere(request):
        seen.append(request.path)
        raise aiohttp.web.HTTPTemporaryRedirect(slack.api_url + "chat.postMessage")

    async with one_route_server(elsewhere) as url, served(slack, SLACK_API_BASE_URL=f"{url}/api") as t:
        answer = await t.invoke("slack.send", {"target": "#ops", "text": TEXT})
    assert (answer.status, answer.code) == (422, "redirected")
    assert (len(seen), slack.calls) == (1, 0)


@pytest.mark.parametrize(
    "address",
    ["http://slack.example.com/api", "ftp://127.0.0.1", "https://u:p@slack.example.com", "https://a?b=c", "nonsense"],
)
async def test_an_unsafe_base_address_is_refused_by_name(slack, address):
    async with served(slack, SLACK_API_BASE_URL=address) as t:
        answer = await t.invoke("slack.send", {"target": "#ops", "text": TEXT})
    assert (answer.status, answer.code) == (503, "not_configured")
    assert [detail["path"] for detail in answer.details] == ["SLACK_API_BASE_URL"]


async def test_a_missing_file_of_authorities_is_named(slack):
    async with served(slack, SLACK_CA_FILE="/nonexistent/ca.pem") as t:
        answer = await t.invoke("slack.send", {"target": "#ops", "text": TEXT})
    assert (answer.code, "ca.pem" in answer.error) == ("not_configured", True)


@pytest.mark.parametrize(
    "body",
    [
        {"target": "", "text": "t"},
        {"target": " ", "text": "t"},
        {"target": "x" * 129, "text": "t"},
        {"target": "#ops", "text": " "},
        {"target": "#ops", "text": "x" * 40_001},
        {"target": "#ops", "text": "t", "blocks": "no"},
        {"target": "#ops", "text": "t", "blocks": [{}] * 51},
        {"target": "#ops", "text": "t", "thread_ts": "yesterday"},
        {"target": "#ops", "text": 5},
    ],
)
async def test_input_outside_the_schema_is_refused_before_anything_is_sent(slack, body):
    async with served(slack) as t:
        answer = await t.invoke("slack.send", body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert slack.calls == 0


@asynccontextmanager
async def one_route_server(handler, context=None):
    """A server that answers every POST with `handler`; gives its address."""
    app = aiohttp.web.Application()
    app.router.add_post("/{tail:.*}", handler)
    runner = aiohttp.web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
