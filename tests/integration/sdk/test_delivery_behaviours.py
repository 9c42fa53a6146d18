"""The delivery tests of the SDK pass a careful plugin and catch careless ones, for the right reason."""

from __future__ import annotations

import asyncio
import uuid

import aiohttp
import pytest
from pydantic import BaseModel

from aisops_plugin_sdk import Config, Context, Plugin, Transient
from aisops_plugin_sdk.outbound import Outbound
from aisops_plugin_sdk.testing import DeliverySubject, FakeProvider, HttpUpstream
from aisops_plugin_sdk.testing.delivery import (
    BEHAVIOURS,
    batch_is_many_calls,
    cancelled_is_ambiguous,
    deadline_is_ambiguous,
    dry_run_does_nothing,
    examine_delivery,
    killed_in_a_call,
    lost_answer_is_ambiguous,
    lost_answer_is_repaired,
    other_key_again,
    same_key_after_restart,
    same_key_once,
    unreachable_is_not_ambiguous,
)

pytestmark = pytest.mark.integration
PATH = "/things"


class Settings(Config):
    acme_url: str


class Order(BaseModel):
    text: str


class Done(BaseModel):
    id: str


async def post(url: str, key: str, text: str) -> Done:
    headers = {"Idempotency-Key": key}
    async with (
        Outbound(url) as outbound,
        outbound.attempt("Acme", 20),
        outbound.session.post(url, json={"text": text}, headers=headers) as answer,
    ):
        return Done.model_validate_json(await answer.read())


def plugin_of(handler, effect: str) -> Plugin:
    made = Plugin("acme", config=Settings)
    made.capability("acme.do", effect=effect)(handler)
    return made


async def careful(ctx: Context[Settings], order: Order) -> Done:
    """Hand the key on."""
    if ctx.dry_run:
        return Done(id="dry-run")
    return await post(ctx.config.acme_url, ctx.idempotency_key, order.text)


async def own_key(ctx: Context[Settings], order: Order) -> Done:
    """Draw a key at every call."""
    return await post(ctx.config.acme_url, uuid.uuid4().hex, order.text)


async def one_key(ctx: Context[Settings], order: Order) -> Done:
    """Use the same key for everything."""
    return await post(ctx.config.acme_url, "constant", order.text)


async def stubborn(ctx: Context[Settings], order: Order) -> Done:
    """Ask again when no answer came."""
    while True:
        try:
            async with aiohttp.ClientSession() as session, session.post(ctx.config.acme_url, json={}) as answer:
                return Done.model_validate_json(await answer.read())
        except aiohttp.ClientError:
            await asyncio.sleep(0)


async def hopeful(ctx: Context[Settings], order: Order) -> Done:
    """Say that nothing was done whenever something went wrong."""
    try:
        async with aiohttp.ClientSession() as session, session.post(ctx.config.acme_url, json={}) as answer:
            return Done.model_validate_json(await answer.read())
    except aiohttp.ClientError:
        raise Transient("nothing was done, surely") from None


async def fearful(ctx: Context[Settings], order: Order) -> Done:
    """Let the client's exceptions out: ambiguous even when nobody was there."""
    async with aiohttp.ClientSession() as session, session.post(ctx.config.acme_url, json={}) as answer:
        return Done.model_validate_json(await answer.read())


async def examined(handler, behaviour, *, effect: str = "idempotent", by_key: bool = True):
    async with FakeProvider() as acme:
        acme.always(PATH, {"id": "1"})
        name_of = (lambda request: request.headers.get("Idempotency-Key", "")) if by_key else None
        upstream = HttpUpstream(acme, PATH, env={"ACME_URL": f"{acme.url}{PATH}"}, name_of=name_of)
        subject = DeliverySubject(plugin_of(handler, effect), "acme.do", {"text": "x"}, upstream)
        return await examine_delivery(behaviour, subject)


@pytest.mark.parametrize("effect", ["idempotent", "at_most_once"])
@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda one: one.__name__)
async def test_a_careful_plugin_passes(behaviour, effect):
    finding = await examined(careful, behaviour, effect=effect)
    twice = behaviour in {same_key_after_restart, lost_answer_is_repaired}
    skipped = behaviour is killed_in_a_call or (twice and effect == "at_most_once")
    assert finding.outcome == ("skipped" if skipped else "passed"), finding.reason


@pytest.mark.parametrize(
    ("handler", "behaviour", "reason"),
    [
        (own_key, same_key_after_restart, "2 effects at the provider"),
        (own_key, lost_answer_is_repaired, "2 effects at the provider"),
        (one_key, other_key_again, "1 effects at the provider"),
        (one_key, batch_is_many_calls, "1 effects at the provider"),
        (stubborn, lost_answer_is_ambiguous, "200 ok; expected a failure"),
        (hopeful, lost_answer_is_ambiguous, "503 transient"),
        (fearful, unreachable_is_not_ambiguous, "nothing had left"),
        (own_key, dry_run_does_nothing, "1 calls left in a dry run"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
async def test_a_careless_one_is_caught(handler, behaviour, reason):
    finding = await examined(handler, behaviour)
    assert finding.outcome == "failed"
    assert reason in finding.reason


async def test_a_provider_that_honours_no_key_shows_that_idempotent_was_a_lie():
    finding = await examined(careful, same_key_after_restart, by_key=False)
    assert (finding.outcome, "2 effects" in finding.reason) == ("failed", True)


async def test_each_behaviour_can_be_called_by_itself():
    for behaviour in (same_key_once, cancelled_is_ambiguous, deadline_is_ambiguous):
        async with FakeProvider() as acme:
            acme.always(PATH, {"id": "1"})
            upstream = HttpUpstream(acme, PATH, env={"ACME_URL": f"{acme.url}{PATH}"})
            await behaviour(DeliverySubject(plugin_of(careful, "at_most_once"), "acme.do", {"text": "x"}, upstream))
