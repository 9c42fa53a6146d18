"""The stream's driver on an in-memory wire: a real RunnerSession at the other end, a scripted dispatcher behind."""

from __future__ import annotations

import asyncio

import pytest

from aisops_core.errors import Fenced, SessionRefused, StorageUnavailable, Unauthenticated
from aisops_core.rpc import backlog as backlog_module
from aisops_core.rpc import stream as stream_module
from aisops_core.rpc.ports import PeerGone
from aisops_protocol.messages import (
    Ack,
    CoreGoodbye,
    Drain,
    Heartbeat,
    JobCancel,
    Ping,
    Pong,
    Welcome,
)
from aisops_protocol.session import Identity
from tests.support.stream_link import Dispatcher, Link


async def test_hello_is_welcomed_and_an_end_of_the_stream_is_orderly(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    link.up.put_nowait(None)
    assert (await link.end()).orderly
    assert dispatcher.closed == ["GOODBYE"]


async def test_an_ack_comes_after_the_commit_and_not_before(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    dispatcher.gate.clear()
    link.send_logs(1)
    await dispatcher.until(lambda: bool(dispatcher.delivered))
    await asyncio.sleep(0)
    assert link.down.empty()
    dispatcher.gate.set()
    ack = await link.receive(Ack)
    assert isinstance(ack, Ack)
    assert ack.seq == 1


async def test_while_one_commit_is_under_way_the_next_batch_collects(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    dispatcher.gate.clear()
    link.send_logs(1)
    await dispatcher.until(lambda: bool(dispatcher.delivered))
    for seq in range(2, 10):
        link.send_logs(seq)
    for _ in range(50):
        await asyncio.sleep(0)
    dispatcher.gate.set()
    await link.acknowledged(9)
    assert dispatcher.delivered == [[1], list(range(2, 10))]


async def test_an_ack_goes_along_with_what_is_sent_anyway(
    link: Link, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "ACK_DELAY_S", 3600.0)
    await link.greet()
    link.send_logs(1)
    await dispatcher.until(lambda: bool(dispatcher.delivered))
    link.stream.send(Ping(7))
    await link.acknowledged(1)


async def test_enough_messages_are_acknowledged_without_delay(
    link: Link, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "ACK_DELAY_S", 3600.0)
    await link.greet()
    link.send_logs(*range(1, stream_module.ACK_MESSAGES + 1))
    await link.acknowledged(stream_module.ACK_MESSAGES)


async def test_what_was_delivered_before_the_end_is_committed_and_acknowledged(
    link: Link, dispatcher: Dispatcher
) -> None:
    await link.greet()
    link.send_logs(1, 2)
    link.runner.goodbye("stop", (), link.clock.now)
    link.flush()
    assert (await link.end()).orderly
    assert dispatcher.delivered == [[1, 2]]
    ack = await link.receive(Ack)
    assert isinstance(ack, Ack)
    assert ack.seq == 2


async def test_a_heartbeat_is_answered_and_passed_on(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    link.runner.send_volatile(Heartbeat(5, leases=(b"l" * 16,)), link.clock.now)
    link.flush()
    await link.receive(Pong)
    await dispatcher.until(lambda: bool(dispatcher.beats))
    assert dispatcher.beats[0].leases == (b"l" * 16,)


async def test_messages_sent_before_welcome_wait_for_it(link: Link, dispatcher: Dispatcher) -> None:
    dispatcher.early = (Ping(7),)
    link.runner.start(link.clock.now)
    link.flush()
    assert isinstance(await link.down.get(), Welcome)
    assert await link.down.get() == Ping(7)


async def test_a_refused_runner_is_told_why(link: Link, dispatcher: Dispatcher) -> None:
    dispatcher.refusal = SessionRefused("DUPLICATE_INSTANCE", "another one is connected", retry_after_ms=900)
    link.runner.start(link.clock.now)
    link.flush()
    end = await link.end()
    assert (end.code, end.retry_after_ms) == ("DUPLICATE_INSTANCE", 900)
    assert await link.down.get() == CoreGoodbye("DUPLICATE_INSTANCE", "another one is connected", 900)
    assert dispatcher.closed == []


async def test_a_fenced_session_ends_and_nothing_is_acknowledged(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    dispatcher.fault = Fenced("runner-1")
    link.send_logs(1)
    assert (await link.end()).code == "FENCED"
    assert isinstance(link.down.get_nowait(), CoreGoodbye)
    assert dispatcher.closed == ["FENCED"]


async def test_an_unexpected_error_tells_the_runner_nothing(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    dispatcher.fault = RuntimeError("secret of the database")
    link.send_logs(1)
    end = await link.end()
    goodbye = await link.receive(CoreGoodbye)
    assert end.code == "INTERNAL"
    assert "secret" not in repr(end) + repr(goodbye)


async def test_a_frame_of_another_runner_ends_the_stream(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    link.runner.identity = Identity("t_default", "runner-2")
    link.runner._window = type(link.runner._window)(10, 10_000)
    link.send_logs(1)
    assert (await link.end()).code == "IDENTITY_MISMATCH"
    assert dispatcher.delivered == []


async def test_octets_that_are_no_frame_end_the_stream(link: Link) -> None:
    await link.greet()
    link.up.put_nowait(b"\xff\xff\xff")
    assert (await link.end()).code == "INVALID"


async def test_a_lost_connection_closes_the_session_at_once(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    link.up.put_nowait(PeerGone())
    assert (await link.end()).code == "GONE"
    assert dispatcher.closed == ["GONE"]


async def test_a_cancelled_rpc_leaves_no_session_behind_even_while_it_opens(link: Link, dispatcher: Dispatcher) -> None:
    dispatcher.opening.clear()
    link.runner.start(link.clock.now)
    link.flush()
    await dispatcher.until(lambda: True)
    await asyncio.sleep(0)
    link.task.cancel()
    await asyncio.sleep(0)
    dispatcher.opening.set()
    await dispatcher.until(lambda: bool(dispatcher.closed))
    assert dispatcher.closed == ["GONE"]


async def test_close_sends_a_goodbye_and_later_messages_are_dropped(link: Link) -> None:
    await link.greet()
    link.stream.close("SHUTDOWN", "Core is stopping")
    link.stream.send(Ping(1))
    assert (await link.end()).code == "SHUTDOWN"
    assert await link.down.get() == CoreGoodbye("SHUTDOWN", "Core is stopping")
    assert link.down.empty()


async def test_drain_asks_an_open_stream_and_closes_one_that_never_said_hello(
    link: Link, dispatcher: Dispatcher
) -> None:
    await link.greet()
    link.stream.drain(250, "stop")
    assert await link.receive(Drain) == Drain(250, "stop")
    other = Link(dispatcher)
    other.stream.drain(250, "stop")
    assert (await other.end()).retry_after_ms == 250


async def test_a_runner_that_does_not_read_is_given_up(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    await link.greet()
    monkeypatch.setattr(stream_module, "WRITE_TIMEOUT_S", 0.01)
    link.blocked.clear()
    link.stream.send(Ping(1))
    assert (await link.end()).code == "STUCK"


async def test_a_runner_that_takes_nothing_is_behind_until_it_does(link: Link) -> None:
    await link.greet()
    link.blocked.clear()
    link.stream.send(Ping(1))
    await link.writing.wait()
    assert not link.stream.behind
    link.clock.now += stream_module.BEHIND_S
    assert link.stream.behind
    link.blocked.set()
    await link.receive(Ping)
    link.stream.send(Ping(2))
    await link.receive(Ping)
    assert not link.stream.behind


async def test_silence_ends_the_stream(link: Link) -> None:
    await link.greet()
    link.clock.now += 44
    link.timer.look()
    link.send_logs(1)
    await link.acknowledged(1)
    link.clock.now += 44
    link.timer.look()
    assert not link.task.done(), "a message puts the end off"
    link.clock.now += 2
    link.timer.look()
    assert (await link.end()).code == "PEER_SILENT"
    assert len(link.timer) == 0


async def test_a_runner_that_says_nothing_is_not_waited_for(dispatcher: Dispatcher) -> None:
    link = Link(dispatcher)
    await asyncio.sleep(0)
    link.clock.now += 10
    link.timer.look()
    assert (await link.end()).code == "HELLO_TIMEOUT"


async def test_after_its_credential_is_lost_nothing_of_a_runner_is_accepted(link: Link, dispatcher: Dispatcher) -> None:
    """Not what it says later, and not what it said before that waits for a commit under way."""
    await link.greet()
    dispatcher.gate.clear()
    link.send_logs(1)
    await dispatcher.until(lambda: bool(dispatcher.delivered))
    link.send_logs(2)
    await asyncio.sleep(0)
    link.stream.refuse(Unauthenticated())
    link.send_logs(3)
    dispatcher.gate.set()
    assert (await link.end()).code == "UNAUTHENTICATED"
    assert dispatcher.delivered == [[1]]
    assert link.runner.acked == 0


async def test_a_runner_that_ignores_its_window_is_not_read_further(
    link: Link, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "HELD_BYTES", 100)
    await link.greet()
    dispatcher.gate.clear()
    for seq in range(1, 20):
        link.send_logs(seq)
    await dispatcher.until(lambda: bool(dispatcher.delivered))
    for _ in range(50):
        await asyncio.sleep(0)
    assert link.up.qsize() > 10
    dispatcher.gate.set()
    await link.acknowledged(19)
    assert sum(map(len, dispatcher.delivered)) == 19


async def test_a_message_the_state_forbids_is_dropped_without_harm(link: Link) -> None:
    await link.greet()
    link.stream.send(JobCancel("j", b"l" * 16))
    assert isinstance(await link.receive(JobCancel), JobCancel)


async def test_a_runner_that_writes_without_reading_is_not_heard_further(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    link.blocked.clear()
    for _ in range(100):
        link.runner.send_volatile(Heartbeat(5), link.clock.now)
        link.flush()
    for _ in range(400):
        await asyncio.sleep(0)
    assert link.up.qsize() > 50
    link.blocked.set()
    for _ in range(400):
        await asyncio.sleep(0)
    assert link.up.empty()


async def test_a_commit_that_the_database_cannot_take_ends_the_stream_without_an_acknowledgement(
    link: Link, dispatcher: Dispatcher
) -> None:
    await link.greet()
    dispatcher.fault = StorageUnavailable("busy")
    link.send_logs(1)
    end = await link.end()
    assert (end.code, end.retry_after_ms) == ("STORAGE_UNAVAILABLE", 1000)
    assert link.runner.acked == 0


async def test_a_heartbeat_of_a_session_that_was_taken_over_ends_it(link: Link, dispatcher: Dispatcher) -> None:
    await link.greet()
    dispatcher.fault = Fenced("runner-1")
    link.runner.send_volatile(Heartbeat(5), link.clock.now)
    link.flush()
    assert (await link.end()).code == "FENCED"
