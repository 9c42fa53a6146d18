"""One driven gRPC stream without gRPC: a scripted dispatcher on one side, a real RunnerSession on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from aisops_core.dispatch.outlet import Outlet
from aisops_core.dispatch.records import OpenedSession, SessionRef
from aisops_core.errors import Fenced
from aisops_core.rpc.ending import Ending
from aisops_core.rpc.flow import Flow, FlowTerms
from aisops_core.rpc.stream import Stream
from aisops_core.rpc.timer import Timer
from aisops_core.tenants.principal import Principal
from aisops_protocol.codec import decode_core_frame, encode_runner_frame
from aisops_protocol.messages import (
    Ack,
    CoreBody,
    Heartbeat,
    Hello,
    LogEvent,
    LogLevel,
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

    def heartbeat(self, ref: SessionRef, heartbeat: Heartbeat) -> None:
        assert ref == REF
        self.beats.append(heartbeat)
        self.changed.set()
        if isinstance(self.fault, Fenced):
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
        self.writing = asyncio.Event()
        self.timer = Timer(self.clock)
        self.flow = Flow(FlowTerms(), lambda: self.stream.regrant())
        self.stream = Stream(
            PRINCIPAL,
            dispatcher,
            read=self._read,
            write=self._write,
            timer=self.timer,
            clock=self.clock,
            flow=self.flow,
        )
        self.task = asyncio.ensure_future(self.stream.run())

    async def _read(self) -> bytes | None:
        item = await self.up.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def _write(self, data: bytes) -> None:
        self.writing.set()
        await self.blocked.wait()
        self.writing.clear()
        frame = decode_core_frame(data)
        self.runner.receive(frame, self.clock.now)
        for envelope in frame.envelopes:
            assert envelope.body is not None
            self.down.put_nowait(envelope.body)

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
