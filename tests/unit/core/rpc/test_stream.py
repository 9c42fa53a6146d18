"""The stream's driver on an in-memory wire: a real RunnerSession at the other end, a scripted dispatcher behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from aisops_core.dispatch.outlet import Outlet
from aisops_core.dispatch.records import OpenedSession, SessionRef
from aisops_core.errors import Fenced, SessionRefused, StorageUnavailable, Unauthenticated
from aisops_core.rpc import stream as stream_module
from aisops_core.rpc.ending import Ending
from aisops_core.rpc.ports import PeerGone
from aisops_core.rpc.stream import Stream
from aisops_core.tenants.principal import Principal
from aisops_protocol.codec import decode_core_frame, encode_runner_frame
from aisops_protocol.messages import (
    Ack,
    CoreBody,
    CoreGoodbye,
    Drain,
    Heartbeat,
    Hello,
    JobCancel,
    LogEvent,
    LogLevel,
    Ping,
    Pong,
    RunnerEnvelope,
    Welcome,
)
from aisops_protocol.session import Identity, RunnerSession

EPOCH, JOURNAL = b"e" * 16, b"j" * 16
PRINCIPAL = Principal("runner", "t_default", "runner-1", "runner", "token-1")
REF = SessionRef("t_default", "runner-1", b"s" * 16, 1)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def unix_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic(self) -> float:
        return self.now


@dataclass
class Dispatcher:
    """Records what reaches it; `gate` holds commits back, `fault` is raised instead."""

    delivered: list[list[int]] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    opening: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: Exception | None = None
    fault: Exception | None = None
    early: tuple[CoreBody, ...] = ()
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.opening.set()

    async def open_session(self, principal: Principal, hello: Hello, outlet: Outlet) -> OpenedSession:
        assert principal is PRINCIPAL
        outlet.send(*self.early)
        self.changed.set()
        await self.opening.wait()
        if self.refusal is not None:
            raise self.refusal
        welcome = Welcome(REF.session_id, 1, b"c" * 16, "core-1", 1, 1_700_000_000_000, Ack(hello.queue_epoch, 0))
        return OpenedSession(REF, welcome)

    async def deliver(
        self, ref: SessionRef, queue_epoch: bytes, envelopes: Sequence[RunnerEnvelope], upto_seq: int
    ) -> None:
        assert (ref, queue_epoch, envelopes[-1].seq) == (REF, EPOCH, upto_seq)
        self.delivered.append([envelope.seq for envelope in envelopes])
        self.changed.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault

    async def heartbeat(self, ref: SessionRef, heartbeat: Heartbeat) -> None:
        assert ref == REF
        self.beats.append(heartbeat)
        self.changed.set()
        if self.fault is not None:
            raise self.fault

    async def close_session(self, ref: SessionRef, reason: str) -> None:
        assert ref == REF
        self.closed.append(reason)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


class Link:
    """The wire and the Runner's end."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.clock = Clock()
        self.dispatcher = dispatcher
        hello = Hello(1, 1, b"i" * 16, "boot", "1", "linux", "x86", 1, EPOCH, 1, 1, 1, JOURNAL)
        self.runner = RunnerSession(Identity("t_default", "runner-1"), hello, self.clock.now)
        self.up: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.down: asyncio.Queue[CoreBody] = asyncio.Queue()
        self.blocked = asyncio.Event()
        self.blocked.set()
        self.token_fault: Exception | None = None
        self.stream = Stream(
            PRINCIPAL, dispatcher, read=self._read, write=self._write, recheck=self._recheck, clock=self.clock
        )
        self.task = asyncio.ensure_future(self.stream.run())

    async def _read(self) -> bytes | None:
        item = await self.up.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def _write(self, data: bytes) -> None:
        await self.blocked.wait()
        frame = decode_core_frame(data)
        self.runner.receive(frame, self.clock.now)
        for envelope in frame.envelopes:
            assert envelope.body is not None
            self.down.put_nowait(envelope.body)

    async def _recheck(self) -> None:
        if self.token_fault is not None:
            raise self.token_fault

    def flush(self) -> None:
        for frame in self.runner.frames():
            self.up.put_nowait(encode_runner_frame(frame))

    async def receive(self, kind: type) -> CoreBody:
        while not isinstance(body := await self.down.get(), kind):
            pass
        return body

    async def acknowledged(self, seq: int) -> None:
        while not isinstance(ack := await self.receive(Ack), Ack) or ack.seq < seq:
            pass

    async def greet(self) -> None:
        self.runner.start(self.clock.now)
        self.flush()
        await self.receive(Welcome)

    def send_logs(self, *seqs: int) -> None:
        lines = [RunnerEnvelope(LogEvent(LogLevel.INFO, "x", 1), seq, b"m" * 16) for seq in seqs]
        self.runner.send_durable(lines, self.clock.now)
        self.flush()

    async def end(self) -> Ending:
        return await asyncio.wait_for(self.task, 5)


@pytest.fixture
async def dispatcher() -> Dispatcher:
    return Dispatcher()


@pytest.fixture
async def link(dispatcher: Dispatcher) -> AsyncIterator[Link]:
    made = Link(dispatcher)
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


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


async def test_silence_ends_the_stream(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "NAP_S", 0.01)
    link = Link(dispatcher)
    await link.greet()
    link.clock.now += 46
    assert (await link.end()).code == "PEER_SILENT"


async def test_a_token_revoked_meanwhile_ends_the_stream(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "RECHECK_S", 0.01)
    link = Link(dispatcher)
    await link.greet()
    link.token_fault = Unauthenticated()
    assert (await link.end()).code == "UNAUTHENTICATED"


async def test_a_runner_that_ignores_its_window_is_not_read_further(
    link: Link, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "HELD_BYTES", 100)
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


async def test_a_database_away_for_a_moment_costs_no_stream_until_a_commit_needs_it(
    link: Link, dispatcher: Dispatcher
) -> None:
    await link.greet()
    dispatcher.fault = StorageUnavailable("busy")
    for count in (1, 2):
        link.runner.send_volatile(Heartbeat(count), link.clock.now)
        link.flush()
        await dispatcher.until(lambda count=count: len(dispatcher.beats) == count)  # type: ignore[misc]
    assert not link.task.done()
    link.send_logs(1)
    end = await link.end()
    assert (end.code, end.retry_after_ms) == ("STORAGE_UNAVAILABLE", 1000)
    assert link.runner.acked == 0
