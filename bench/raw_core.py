"""A Core end that only keeps a Runner busy: it speaks the contract, stores nothing and acknowledges at once.

Run as a process of its own (`python -m bench.raw_core`): prints the port it listens on, then answers each line on
standard input with a JSON line: `IN_FLIGHT COUNT` with one round's figures, `drain COUNT` with how a backlog of so many
messages came. The latency of a job is from handing it to the stream until its result is decoded here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import grpc
import grpc.aio

from aisops_protocol.codec import METHOD, SERVICE_NAME, decode_runner_frame, encode_core_frame
from aisops_protocol.limits import FRAME_BYTES
from aisops_protocol.messages import Ack, EffectClass, Hello, Job, JobResult, ResultStatus, Welcome
from aisops_protocol.resume import resume
from aisops_protocol.session import CoreSession, Delivered, HeartbeatReceived, HelloReceived, Identity
from bench.figures import Figure
from bench.job import CAPABILITY, DATA

TENANT, RUNNER = "t_default", "bench"
DATA_SHA256 = hashlib.sha256(DATA).digest()
WINDOW_MESSAGES, WINDOW_BYTES = 8192, 16 * 1024 * 1024
LEASE_MS = 60_000
HEARTBEAT_MS = 1_000
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", FRAME_BYTES),
    ("grpc.max_receive_message_length", FRAME_BYTES),
)


class Round:
    """One round: so many jobs, at most so many of them at the Runner."""

    def __init__(self, in_flight: int, count: int) -> None:
        self._left = count
        self._sent: dict[str, float] = {}
        self._begun = time.perf_counter()
        self._latencies: list[float] = []
        self._in_flight = in_flight
        self._prefix = os.urandom(6).hex()
        self.sidecar_pid = 0
        self.done = asyncio.Event()

    def due(self) -> list[Job]:
        """The jobs that may go now."""
        return [self._job() for _ in range(min(self._left, self._in_flight - len(self._sent)))]

    def _job(self) -> Job:
        self._left -= 1
        job_id = f"{self._prefix}-{self._left}"
        self._sent[job_id] = time.perf_counter()
        return Job(
            job_id=job_id,
            lease_id=os.urandom(16),
            attempt=1,
            capability=CAPABILITY,
            input=DATA,
            input_sha256=DATA_SHA256,
            effect_key=job_id,
            effect_class=EffectClass.IDEMPOTENT,
            timeout_ms=30_000,
            lease_ms=LEASE_MS,
        )

    def ended(self, result: JobResult) -> None:
        """Count a result.

        Raises:
            RuntimeError: The job did not succeed.
        """
        if result.status is not ResultStatus.SUCCEEDED:
            raise RuntimeError(f"a job of the benchmark did not succeed: {result}")
        self._latencies.append(time.perf_counter() - self._sent.pop(result.job_id))
        self.sidecar_pid = result.execution.sidecar_pid
        if not self._sent and not self._left:
            self.done.set()

    def document(self) -> dict[str, Any]:
        """The round's figures."""
        figure = Figure.of(self._latencies, time.perf_counter() - self._begun)
        return figure.document() | {"sidecar_pid": self.sidecar_pid}


@dataclass
class Backlog:
    """How a backlog comes: counted from the Welcome on. Times in seconds."""

    welcomed_at: float = 0.0
    first_at: float = 0.0
    messages: int = 0
    beats: list[float] = field(default_factory=list)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def document(self) -> dict[str, Any]:
        """The figures."""
        now = time.perf_counter()
        gaps = [later - earlier for earlier, later in pairwise([self.welcomed_at, *self.beats, now])]
        return {
            "messages": self.messages,
            "first_message_s": self.first_at - self.welcomed_at,
            "messages_per_s": self.messages / (now - self.first_at),
            "longest_without_heartbeat_s": max(gaps),
        }


class RawCore:
    """Serves one Runner at a time."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._server = grpc.aio.server(options=_OPTIONS)
        self._round: Round | None = None
        self._session: CoreSession | None = None
        self._wake = asyncio.Event()
        self._connected = asyncio.Event()

    async def start(self) -> int:
        """Listen; return the port."""
        handler = grpc.stream_stream_rpc_method_handler(self._connect)
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE_NAME, {METHOD: handler})])
        port: int = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return port

    async def stop(self) -> None:
        """Close every stream."""
        await self._server.stop(0)

    async def measure(self, in_flight: int, count: int) -> dict[str, Any]:
        """Run one round once a Runner is connected."""
        await self._connected.wait()
        self._round = Round(in_flight, count)
        self._wake.set()
        await self._round.done.wait()
        found, self._round = self._round.document(), None
        return found

    async def drain(self, count: int) -> dict[str, Any]:
        """Wait until so many messages have come."""
        while self._backlog.messages < count:
            self._backlog.moved.clear()
            await self._backlog.moved.wait()
        return self._backlog.document()

    async def _connect(self, _requests: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        session = self._session = CoreSession(Identity(TENANT, RUNNER), time.monotonic())
        reading = asyncio.create_task(self._read(session, context))
        try:
            while not reading.done():
                if self._round is not None and session.session_id:
                    session.send(*self._round.due())
                for frame in session.frames():
                    await context.write(encode_core_frame(frame))
                await self._wake.wait()
                self._wake.clear()
        finally:
            self._connected.clear()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, session: CoreSession, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        while (raw := await context.read()) is not grpc.aio.EOF:
            for event in session.receive(decode_runner_frame(raw), time.monotonic()):
                if isinstance(event, HelloReceived):
                    self._welcome(session, event.hello)
                elif isinstance(event, Delivered):
                    self._take(session, event)
                elif isinstance(event, HeartbeatReceived):
                    self._backlog.beats.append(time.perf_counter())
            self._wake.set()
        self._wake.set()

    def _take(self, session: CoreSession, event: Delivered) -> None:
        self._backlog.first_at = self._backlog.first_at or time.perf_counter()
        self._backlog.messages += len(event.envelopes)
        self._backlog.moved.set()
        for envelope in event.envelopes:
            if isinstance(envelope.body, JobResult) and self._round is not None:
                self._round.ended(envelope.body)
        session.committed(event.upto_seq)

    def _welcome(self, session: CoreSession, hello: Hello) -> None:
        session.welcome(
            Welcome(
                session_id=os.urandom(16),
                session_epoch=1,
                core_epoch=b"c" * 16,
                core_replica="bench",
                protocol=1,
                clock_unix_ms=int(time.time() * 1000),
                ack_watermark=Ack(hello.queue_epoch, resume(hello, {}).seq),
                heartbeat_interval_ms=HEARTBEAT_MS,
                lease_ms=LEASE_MS,
                max_inflight_messages=WINDOW_MESSAGES,
                max_inflight_bytes=WINDOW_BYTES,
            ),
            time.monotonic(),
        )
        self._backlog.welcomed_at = time.perf_counter()
        if any(capability.name == CAPABILITY for capability in hello.capabilities):
            self._connected.set()


async def serve() -> None:
    """Listen and run rounds until standard input ends."""
    core = RawCore()
    print(await core.start(), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        what, count = line.split()
        found = core.drain(int(count)) if what == "drain" else core.measure(int(what), int(count))
        print(json.dumps(await found), flush=True)
    await core.stop()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The fastest event loop there is, so that this end is not what is measured."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())
