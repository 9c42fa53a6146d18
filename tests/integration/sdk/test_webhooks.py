"""Webhooks in the sidecar: what a provider is answered, and when."""

import asyncio

import pytest

from aisops_plugin_sdk import (
    Config,
    Context,
    Delivery,
    Inbound,
    InvalidRequest,
    Plugin,
    Unauthorized,
    WebhookReply,
    WebhookRequest,
)
from aisops_plugin_sdk.testing import PluginTest

pytestmark = pytest.mark.integration


def signed(ctx: Context, request: WebhookRequest) -> None:
    if request.headers.get("x-word") != "open":
        raise Unauthorized("unauthorized")


def acme(handler) -> Plugin:
    """A plugin whose only webhook is this function."""
    plugin = Plugin("acme", config=Config)
    plugin.webhook("/acme/hook", verify=signed)(handler)

    @plugin.capability("acme.do")
    async def do(ctx: Context, given: Delivery) -> Delivery:
        return given

    return plugin


async def hook(t: PluginTest, body: bytes = b"{}", **headers: str):
    return await t.client.raw("POST", "/acme/hook", body, headers={"X-Word": "open", **headers}, signed=False)


async def pressed(ctx: Context, request: WebhookRequest) -> Inbound:
    return Inbound("acme.pressed", request.json(), key="k-1", reply=WebhookReply(202, b"thanks"))


async def test_the_provider_is_answered_after_the_runner_stored_it():
    async with PluginTest(acme(pressed), storing=True) as t:
        answer = await hook(t, b'{"by":"U1"}')
    assert (answer.status, answer.body) == (202, b"thanks")
    (stored,) = t.stored
    assert (stored["kind"], stored["key"], stored["facts"]) == ("acme.pressed", "k-1", {"by": "U1"})
    assert t.plugin.manifest().webhooks == ("/acme/hook",)


async def test_without_a_runner_nothing_is_taken():
    async with PluginTest(acme(pressed)) as t:
        answer = await hook(t)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_a_runner_that_does_not_decide_leaves_the_provider_unserved_in_time():
    async with PluginTest(acme(pressed)) as t:
        asking = asyncio.create_task(t.post("/v1/inbound", {"stored": [], "refused": []}))
        while b"nobody" in (answer := await hook(t)).body:  # noqa: ASYNC110 - the question is on its way
            await asyncio.sleep(0)
        assert (answer.status, b"in time" in answer.body) == (503, True)
        assert len((await asking).result["events"]) == 1
    assert t.stored == []


async def test_a_runner_that_refuses_leaves_the_provider_unserved_at_once():
    async with PluginTest(acme(pressed)) as t:
        asking = asyncio.create_task(t.post("/v1/inbound", {"stored": [], "refused": []}))
        sending = asyncio.create_task(_until_held(t))
        (event,) = (await asking).result["events"]
        refusing = asyncio.create_task(t.post("/v1/inbound", {"stored": [], "refused": [event["id"]]}))
        answer = await sending
        refusing.cancel()
    assert (answer.status, b"could not be stored" in answer.body) == (503, True)


async def _until_held(t: PluginTest):
    """Send until somebody asks for events."""
    while b"nobody" in (answer := await hook(t)).body:  # noqa: ASYNC110 - the question is on its way
        await asyncio.sleep(0)
    return answer


def _raises(error: Exception):
    async def handler(ctx: Context, request: WebhookRequest) -> Inbound:
        raise error

    return handler


async def _wrong(ctx: Context, request: WebhookRequest) -> Inbound:
    return Inbound("other.pressed", {}, key="k")


async def _keyless(ctx: Context, request: WebhookRequest) -> Inbound:
    return Inbound("acme.pressed", {}, key="")


async def _none(ctx: Context, request: WebhookRequest) -> None:
    return None


async def _slow(ctx: Context, request: WebhookRequest) -> Inbound:
    await asyncio.sleep(60)
    return Inbound("acme.pressed", {}, key="k")


def _plain(ctx: Context, request: WebhookRequest) -> WebhookReply:
    return WebhookReply(200, request.body, "application/json")


@pytest.mark.parametrize(
    ("handler", "status", "text"),
    [
        (_plain, 200, b"{}"),
        (_raises(InvalidRequest("missing payload")), 400, b"missing payload"),
        (_raises(RuntimeError("inner-word")), 500, b"not available now"),
        (_wrong, 500, b"not available now"),
        (_keyless, 500, b"not available now"),
        (_none, 500, b"not available now"),
        (_slow, 503, b"the request took too long; send it again"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_each_end_of_a_handler_has_its_answer(handler, status, text):
    async with PluginTest(acme(handler), storing=True) as t:
        answer = await hook(t)
    assert (answer.status, answer.body) == (status, text)
    assert t.stored == []
    assert any(record.level == "error" for record in t.logs) is (status >= 500)


async def test_an_unverified_request_does_not_reach_the_handler():
    async with PluginTest(acme(_raises(AssertionError("reached"))), storing=True) as t:
        answer = await hook(t, **{"X-Word": "wrong"})
    assert (answer.status, answer.body, t.logs) == (401, b"unauthorized", [])


async def test_a_plugin_without_webhooks_has_no_route_for_their_events():
    plugin = Plugin("bare")

    @plugin.capability("bare.do")
    async def do(ctx: Context, given: Delivery) -> Delivery:
        return given

    async with PluginTest(plugin) as t:
        assert (await t.post("/v1/inbound", {"stored": [], "refused": []})).status == 404
    assert "inbound" not in plugin.manifest().features
