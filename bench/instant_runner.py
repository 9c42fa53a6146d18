"""A Runner that answers every job at once and keeps nothing: what is left of the path's cost is Core's.

`python -m bench.instant_runner PORT RUNNER_ID SLOTS` with the Runner's token on standard input; prints one line once
Core has welcomed it. It speaks through the real codec and session; only its outbox, journal and sidecars are missing.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from typing import Any

import grpc
import grpc.aio

from aisops_protocol.codec import METHOD_PATH, decode_core_frame, encode_runner_frame
from aisops_protocol.messages import (
    Capability,
    EffectClass,
    ExecutionInfo,
    Heartbeat,
    Hello,
    Job,
    JobAccept,
    JobResult,
    ResultStatus,
    RunnerEnvelope,
)
from aisops_protocol.session import Identity, JobReceived, RunnerSession, Welcomed
from bench.job import CAPABILITY

NOOP = Capability(
    name=CAPABILITY,
    plugin="noop",
    plugin_version="1.0",
    effect_class=EffectClass.IDEMPOTENT,
    timeout_ms=30_000,
    input_schema=b'{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}',
    description="Answers with its input.",
)


def build_hello(slots: int) -> Hello:
    """Return the Hello of a Runner that starts with an empty outbox and journal."""
    return Hello(
        protocol_min=1, protocol_max=1, instance_id=secrets.token_bytes(16), boot_id="bench", agent_version="1.0",
        os="linux", arch="x86_64", clock_unix_ms=time.time_ns() // 1_000_000, queue_epoch=secrets.token_bytes(16),
        epoch_start_seq=1, next_seq=1, oldest_unacked_seq=1, journal_id=secrets.token_bytes(16),
        capabilities=(NOOP,), job_slots=slots,
    )  # fmt: skip


class InstantRunner:
    """One stream: jobs in, for each an acceptance and a result out."""

    def __init__(self, call: Any, runner_id: str, slots: int) -> None:
        self._call, self._slots, self._seq = call, slots, 0
        self._session = RunnerSession(Identity("t_default", runner_id), build_hello(slots), time.monotonic())
        self._waiting: list[RunnerEnvelope] = []
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Serve until Core ends the stream."""
        self._session.start(time.monotonic())
        beats = asyncio.create_task(self._beat())
        try:
            await self._flush()
            while (data := await self._call.read()) is not grpc.aio.EOF:
                for event in self._session.receive(decode_core_frame(data), time.monotonic()):
                    self._take(event)
                await self._flush()
        finally:
            beats.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            self._session.tick(now)
            if self._session.heartbeat_due(now):
                beat = Heartbeat(clock_unix_ms=time.time_ns() // 1_000_000, free_slots=self._slots)
                self._session.send_volatile(beat, now)
                await self._flush()

    def _take(self, event: object) -> None:
        if isinstance(event, Welcomed):
            print("welcome", flush=True)
        elif isinstance(event, JobReceived):
            self._answer(event.job)

    def _answer(self, job: Job) -> None:
        ids = (job.job_id, job.lease_id, job.attempt)
        info = ExecutionInfo("noop", "1.0", 1, 1, time.time_ns() // 1_000_000, 1)
        for body in (JobAccept(*ids), JobResult(*ids, ResultStatus.SUCCEEDED, job.input, None, info)):
            self._seq += 1
            self._waiting.append(RunnerEnvelope(body, self._seq, secrets.token_bytes(16)))

    async def _flush(self) -> None:
        now = time.monotonic()
        room = self._session.window(now).messages
        if room and self._waiting:
            ready, self._waiting = self._waiting[:room], self._waiting[room:]
            self._session.send_durable(ready, now)
        async with self._writing:  # one write at a time: gRPC ends the stream otherwise
            for frame in self._session.frames():
                await self._call.write(encode_runner_frame(frame))


async def serve(port: int, runner_id: str, slots: int, token: str) -> None:
    """Connect to Core on this machine and answer until the stream ends."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(METHOD_PATH)(metadata=[("authorization", f"Bearer {token}")])
        await InstantRunner(call, runner_id, slots).run()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.stdin.readline().strip()))
