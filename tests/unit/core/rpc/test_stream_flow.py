"""A stream holds its Runner back when Core has too much, or its database is slow, and lets it go again."""

from __future__ import annotations

import pytest

from aisops_core.errors import StorageUnavailable
from aisops_core.rpc.flow import Flow, FlowTerms
from aisops_protocol.messages import Ack, Heartbeat, Pong, Slow
from tests.support.stream_link import Dispatcher, Link

TERMS = FlowTerms()


async def windows(link: Link) -> tuple[int, int]:
    """The window that the next acknowledgement with one gives."""
    while not isinstance(ack := await link.receive(Ack), Ack) or not ack.max_inflight_messages:
        pass
    return ack.max_inflight_messages, ack.max_inflight_bytes


async def test_a_slow_commit_makes_the_window_small_and_quick_ones_make_it_wide_again(
    link: Link, dispatcher: Dispatcher
) -> None:
    await link.greet()
    dispatcher.gate.clear()
    link.send_logs(1)
    await dispatcher.until(lambda: len(dispatcher.delivered) == 1)
    link.clock.now += TERMS.slow_s
    link.send_logs(2)
    assert await windows(link) == (TERMS.narrow.messages, TERMS.narrow.bytes)
    assert link.runner.window(link.clock.now).messages <= TERMS.narrow.messages
    dispatcher.gate.set()
    await link.acknowledged(2)
    link.clock.now += TERMS.slow_s
    link.send_logs(3)
    assert await windows(link) == (TERMS.wide.messages, TERMS.wide.bytes)
    assert link.flow.held_bytes == 0 or dispatcher.delivered[-1] == [3]


async def test_a_stuck_commit_makes_whoever_delivers_pause_but_not_its_heartbeats(
    link: Link, dispatcher: Dispatcher
) -> None:
    await link.greet()
    dispatcher.gate.clear()
    link.send_logs(1)
    await dispatcher.until(lambda: len(dispatcher.delivered) == 1)
    link.clock.now += TERMS.stuck_s
    link.send_logs(2)
    assert await link.receive(Slow) == Slow(TERMS.pause_ms)
    assert not link.runner.window(link.clock.now)
    link.runner.send_volatile(Heartbeat(5), link.clock.now)
    link.flush()
    assert isinstance(await link.receive(Pong), Pong)
    assert len(dispatcher.beats) == 1
    link.clock.now += TERMS.pause_ms / 1000
    link.runner.tick(link.clock.now)
    assert link.runner.window(link.clock.now), "the pause is over by itself"


async def test_a_runner_that_comes_while_others_are_held_back_gets_a_small_window_too(link: Link) -> None:
    link.flow.begin("another stream", link.clock.now - TERMS.slow_s)
    link.flow.look(link.clock.now)
    await link.greet()
    assert await windows(link) == (TERMS.narrow.messages, TERMS.narrow.bytes)


@pytest.mark.parametrize("fault", [None, StorageUnavailable("The database is not available.")])
async def test_what_a_stream_held_is_given_back_at_its_end(
    link: Link, dispatcher: Dispatcher, fault: Exception | None
) -> None:
    await link.greet()
    dispatcher.gate.clear()
    link.send_logs(1)
    await dispatcher.until(lambda: len(dispatcher.delivered) == 1)
    link.send_logs(2)
    held: Flow = link.flow
    assert held.held_bytes > 0
    dispatcher.fault = fault
    dispatcher.gate.set()
    link.up.put_nowait(None)
    await link.end()
    assert held.held_bytes == 0
