"""Core's end of the stream for tests of the Runner: the real codec and CoreSession over real gRPC, a ledger in memory.

What Core would commit stands in `ledger`; a stream can be cut, refused, or left without acknowledgements.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from aisops_protocol.codec import METHOD, SERVICE_NAME, decode_runner_frame, encode_core_frame
from aisops_protocol.messages import (
    Ack,
    CoreBody,
    Heartbeat,
    Hello,
    Job,
    JobAccept,
    JobResult,
    JobVerdict,
    Pong,
    RunnerBody,
    RunnerGoodbye,
    Skip,
    Verdict,
    Welcome,
)
from aisops_protocol.resume import resume, watermarks
from aisops_protocol.session import (
    CoreSession,
    Delivered,
    GoodbyeReceived,
    HeartbeatReceived,
    HelloReceived,
    Identity,
)

TENANT, RUNNER = "t_default", "runner-1"


@dataclass
class Refusal:
    """How the next streams are refused."""

    status: grpc.StatusCode
    reason: str = ""
    retry_after_ms: int = 0


@dataclass
class Live:
    """One open stream."""

    session: CoreSession
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    cut: bool = False
    ended: bool = False


class CoreEnd:
    """A small Core. Tests await `until(condition)`; nothing polls."""

    def __init__(self) -> None:
        self.ledger: list[tuple[bytes, int, RunnerBody]] = []
        self.marks: dict[bytes, int] = {}
        self.hellos: list[Hello] = []
        self.beats: list[Heartbeat] = []
        self.goodbyes: list[RunnerGoodbye] = []
        self.metadata: list[dict[str, Any]] = []
        self.leased: dict[str, Job] = {}
        self.refusal: Refusal | None = None
        self.acknowledging = True
        self.cut_before_ack = 0
        self.heartbeat_ms = 15_000
        self.window = (256, 1_048_576)
        self.core_epoch = b"c" * 16
        self.clock_ahead_s = 0.0
        self.live: list[Live] = []
        self.streams = 0
        self.port = 0
        self._moved = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handler = grpc.stream_stream_rpc_method_handler(self._connect)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE_NAME, {METHOD: handler})])
        address = f"127.0.0.1:{port}"
        self.port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    # --- what tests do ------------------------------------------------------------------------------------------------

    def dispatch(self, *jobs: Job) -> None:
        """Lease jobs to the Runner: sent now, or after the next Welcome when it does not hold them."""
        for job in jobs:
            self.leased[job.job_id] = job
        self.send(*jobs)

    def send(self, *bodies: CoreBody) -> None:
        for live in self.live:
            if live.session.hello is not None and live.session.session_id:
                live.session.send(*bodies)
                live.wake.set()

    def cut(self) -> None:
        """Cut every open stream, as a network does."""
        for live in self.live:
            live.cut = True
            live.wake.set()

    def of(self, kind: type) -> list[Any]:
        """Bodies of one kind in the ledger."""
        return [body for _, _, body in self.ledger if isinstance(body, kind)]

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s), self._moved:
            await self._moved.wait_for(condition)

    # --- the stream ---------------------------------------------------------------------------------------------------

    async def _connect(self, requests: object, context: grpc.aio.ServicerContext) -> None:
        self.streams += 1
        self.metadata.append(dict(context.invocation_metadata() or ()))
        if self.refusal is not None:
            refusal = self.refusal
            trailing = [("aisops-reason", refusal.reason)] if refusal.reason else []
            if refusal.retry_after_ms:
                trailing.append(("aisops-retry-after-ms", str(refusal.retry_after_ms)))
            await self._moved_now()
            await context.abort(refusal.status, "refused", tuple(trailing))
        live = Live(CoreSession(Identity(TENANT, RUNNER), time.monotonic()))
        self.live.append(live)
        reader = asyncio.create_task(self._read(live, context))
        try:
            while not live.cut:
                for frame in live.session.frames():
                    await context.write(encode_core_frame(frame))
                if live.ended:
                    return
                await live.wake.wait()
                live.wake.clear()
        finally:
            self.live.remove(live)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await self._moved_now()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")

    async def _read(self, live: Live, context: grpc.aio.ServicerContext) -> None:
        while True:
            raw = await context.read()
            if raw is grpc.aio.EOF:
                live.ended = True
                live.wake.set()
                return
            for event in live.session.receive(decode_runner_frame(raw), time.monotonic()):
                self._take(live, event)
            live.wake.set()
            await self._moved_now()

    def _take(self, live: Live, event: object) -> None:
        match event:
            case HelloReceived():
                self.hellos.append(event.hello)
                self._welcome(live, event.hello)
            case Delivered():
                self._commit(live, event)
            case HeartbeatReceived():
                self.beats.append(event.heartbeat)
            case GoodbyeReceived():
                self.goodbyes.append(event.goodbye)

    def _welcome(self, live: Live, hello: Hello) -> None:
        seq = resume(hello, self.marks).seq
        self.marks[hello.queue_epoch] = seq
        done = {result.job_id for result in self.of(JobResult)}
        verdicts = []
        for held in hello.held_jobs:
            job = self.leased.get(held.job_id)
            keep = job is not None and job.lease_id == held.lease_id and held.job_id not in done
            verdicts.append(JobVerdict(held.job_id, Verdict.KEEP if keep else Verdict.CANCEL))
        live.session.welcome(
            Welcome(
                session_id=os.urandom(16),
                session_epoch=self.streams,
                core_epoch=self.core_epoch,
                core_replica="test",
                protocol=1,
                clock_unix_ms=int((time.time() + self.clock_ahead_s) * 1000),
                ack_watermark=Ack(hello.queue_epoch, seq),
                heartbeat_interval_ms=self.heartbeat_ms,
                max_inflight_messages=self.window[0],
                max_inflight_bytes=self.window[1],
                job_verdicts=tuple(verdicts),
            ),
            time.monotonic(),
        )
        held_ids = {held.job_id for held in hello.held_jobs}
        live.session.send(*[job for name, job in self.leased.items() if name not in held_ids | done])

    def _commit(self, live: Live, event: Delivered) -> None:
        for envelope in event.envelopes:
            assert envelope.body is not None
            self.ledger.append((event.queue_epoch, envelope.seq, envelope.body))
        hello = live.session.hello
        assert hello is not None
        for epoch, seq in watermarks(hello, event.upto_seq).items():
            self.marks[epoch] = seq if epoch == hello.queue_epoch else max(seq, self.marks.get(epoch, 0))
        if self.cut_before_ack:
            self.cut_before_ack -= 1
            live.cut = True
        elif self.acknowledging and not live.cut:
            live.session.committed(event.upto_seq)

    async def _moved_now(self) -> None:
        async with self._moved:
            self._moved.notify_all()


def numbers(core: CoreEnd) -> list[int]:
    """Every sequence number the ledger stands for, Skips spread out."""
    found: list[int] = []
    for _, seq, body in core.ledger:
        found += range(body.from_seq, seq + 1) if isinstance(body, Skip) else [seq]
    return found


@asynccontextmanager
async def core_end(**settings: Any) -> AsyncIterator[CoreEnd]:
    """A started CoreEnd with attributes set."""
    core = CoreEnd()
    credentials = settings.pop("credentials", None)
    for name, value in settings.items():
        setattr(core, name, value)
    await core.start(credentials=credentials)
    try:
        yield core
    finally:
        await core.stop()


__all__ = ["CoreEnd", "JobAccept", "Pong", "Refusal", "core_end", "numbers", "RUNNER", "TENANT"]
