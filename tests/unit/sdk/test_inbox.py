"""Events that wait for the Runner: given out, decided, given out again, given up; never said to be stored when not."""

import asyncio

import pytest

from aisops_plugin_sdk.server.inbox import MAX_ANSWER, MAX_HELD, Decision, Inbox

LONG_S = 30.0


def document(number: int = 0) -> dict:
    return {"kind": "acme.seen", "key": str(number), "time_ms": 0, "facts": {"n": number}}


async def held(inbox: Inbox, count: int = 1) -> list[asyncio.Task]:
    """Events on hold, each as the task that waits for its decision."""
    tasks = [asyncio.create_task(inbox.keep(document(number), LONG_S)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


async def attended(**settings) -> tuple[Inbox, list[dict]]:
    """An inbox whose Runner has asked once, and what it got."""
    inbox = Inbox(poll_s=0.01, **settings)
    return inbox, await inbox.ask([], [])


async def test_nobody_asks_and_nothing_is_held():
    assert await Inbox().keep(document(), LONG_S) is Decision.NOBODY


async def test_a_waiting_question_gets_an_event_at_once_and_its_decision_answers_the_provider():
    inbox = Inbox()
    question = asyncio.create_task(inbox.ask([], []))
    await asyncio.sleep(0)
    (waiting,) = await held(inbox)
    (event,) = await question
    assert (event["key"], event["facts"], waiting.done()) == ("0", {"n": 0}, False)
    again = asyncio.create_task(inbox.ask([event["id"]], []))
    assert await waiting is Decision.STORED
    again.cancel()


async def test_a_refused_event_is_said_to_be_refused():
    inbox, _ = await attended()
    (waiting,) = await held(inbox)
    (event,) = await inbox.ask([], [])
    await inbox.ask([], [event["id"]])
    assert await waiting is Decision.REFUSED


async def test_what_a_question_does_not_decide_is_given_out_again():
    """A Runner that crashed between the answer and its disk says nothing about it."""
    inbox, _ = await attended()
    (waiting,) = await held(inbox)
    first = await inbox.ask([], [])
    second = await inbox.ask([], [])
    assert first == second
    await inbox.ask([second[0]["id"]], [])
    assert await waiting is Decision.STORED


async def test_decisions_about_unknown_events_mean_nothing():
    inbox, _ = await attended()
    (waiting,) = await held(inbox)
    await inbox.ask(["x" * 32, ""], ["y"])
    assert not waiting.done()
    waiting.cancel()


async def test_a_newer_question_takes_the_place_of_an_older_one():
    inbox = Inbox()
    older = asyncio.create_task(inbox.ask([], []))
    await asyncio.sleep(0)
    newer = asyncio.create_task(inbox.ask([], []))
    assert await older == []
    (waiting,) = await held(inbox)
    assert len(await newer) == 1
    waiting.cancel()


async def test_a_provider_is_not_kept_waiting_for_ever():
    inbox, _ = await attended()
    assert await inbox.keep(document(), 0.01) is Decision.LATE
    assert await inbox.ask([], []) == []


async def test_a_runner_that_went_silent_is_nobody():
    now = 100.0
    inbox, _ = await attended(monotonic=lambda: now)
    assert inbox.attended
    now += 6.0
    assert await inbox.keep(document(), LONG_S) is Decision.NOBODY


async def test_only_so_many_wait_and_only_so_many_are_given_out_at_once():
    inbox, _ = await attended()
    tasks = await held(inbox, MAX_HELD)
    assert await inbox.keep(document(), LONG_S) is Decision.FULL
    got = await inbox.ask([], [])
    assert len(got) == MAX_ANSWER
    rest = await inbox.ask([event["id"] for event in got], [])
    assert not {event["id"] for event in got} & {event["id"] for event in rest}
    for task in tasks:
        task.cancel()


async def test_closing_gives_up_what_is_held_and_lets_the_question_go():
    inbox = Inbox()
    question = asyncio.create_task(inbox.ask([], []))
    await asyncio.sleep(0)
    waiting = await held(inbox)
    inbox.close()
    assert await waiting[0] is Decision.NOBODY
    await question
    assert await inbox.keep(document(), LONG_S) is Decision.NOBODY


@pytest.mark.parametrize("decision", [Decision.STORED, Decision.REFUSED])
async def test_the_first_decision_stands(decision):
    inbox, _ = await attended()
    (waiting,) = await held(inbox)
    (event,) = await inbox.ask([], [])
    lists = ([event["id"]], []) if decision is Decision.STORED else ([], [event["id"]])
    inbox._decide(lists[0], Decision.STORED)
    inbox._decide(lists[1], Decision.REFUSED)
    inbox.close()
    assert await waiting is decision
