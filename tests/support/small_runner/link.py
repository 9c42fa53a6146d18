"""The small runner's stream: dial, greet, talk, come back."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from aisops_protocol.codec import METHOD_PATH, decode_core_frame, encode_runner_frame
from aisops_protocol.errors import ProtocolError
from aisops_protocol.limits import FEATURE_SESSION_EPOCH, HEARTBEAT_S
from aisops_protocol.messages import (
    Capability,
    CoreFrame,
    CredentialReply,
    Heartbeat,
    HeldJob,
    Hello,
    JobCancel,
    Ping,
    RunnerFrame,
    Verdict,
)
from aisops_protocol.session import (
    Acked,
    CancelReceived,
    CredentialOffered,
    DrainRequested,
    Identity,
    JobReceived,
    PeerClosed,
    RewindTo,
    RunnerSession,
    State,
    Welcomed,
    Window,
)
from tests.support.small_runner.faults import Fault
from tests.support.small_runner.store import Store
from tests.support.small_runner.work import OFFERED, SLOTS, Work

LATER_S = {"REVOKED": 900.0, "BANNED": 900.0, "UNAUTHENTICATED": 60.0}
BACK_OFF_S = 0.4


class Link:
    """One runner's connection, for as long as it lives."""

    def __init__(self, store: Store, identity: Identity, target: str, token: Path, fault: Fault, most: int) -> None:
        self._store, self._identity, self._target, self._token, self._fault = store, identity, target, token, fault
        self._wake = asyncio.Event()
        self.work = Work(store, fault, self._wake.set, most)
        self._instance = secrets.token_bytes(16)
        self._stopping = False
        self._wait_s = 0.0
        self._heard_at = time.monotonic()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        if self._fault is Fault.TWO_STREAMS:
            second = asyncio.create_task(self._again())
            try:
                await self._again()
            finally:
                second.cancel()
        await self._again()

    async def _again(self) -> None:
        while not self._stopping:
            self._wait_s = BACK_OFF_S * random.random()
            try:
                await self._once()
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                self._refused(error)
            except ProtocolError:
                pass
            try:
                async with asyncio.timeout(self._wait_s):
                    while not self._stopping:
                        await self._wake.wait()
                        self._wake.clear()
            except TimeoutError:
                continue

    def _refused(self, error: Exception) -> None:
        trailing = error.trailing_metadata() if isinstance(error, grpc.aio.AioRpcError) else None
        told = dict(trailing or ())
        after = int(told.get("aisops-retry-after-ms", 0)) / 1000
        if self._fault is not Fault.RETRY_AFTER_IGNORED:
            self._wait_s = max(self._wait_s + after, 1.1 * LATER_S.get(str(told.get("aisops-reason")), 0.0))

    async def _once(self) -> None:
        async with grpc.aio.insecure_channel(self._target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            metadata = (("authorization", f"Bearer {self._token.read_text()}"),)
            stream: Any = channel.stream_stream(METHOD_PATH)(metadata=metadata)
            hello = self._hello()
            session = RunnerSession(self._identity, hello, time.monotonic())
            session.start(time.monotonic())
            self._drain: DrainRequested | None = None
            self._ended: Exception | None = None
            reading = asyncio.create_task(self._read(stream, session, hello))
            try:
                await self._write(stream, session)
                if self._ended is not None:
                    raise self._ended
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                stream.cancel()
                if session.welcome is not None:
                    self._store.parted(session.welcome.session_epoch)

    def _hello(self) -> Hello:
        named, left_out = self._store.held()
        held = [HeldJob(job.job_id, job.lease, job.attempt, job.phase) for job in named]
        offered = [Capability(name, "small", "1", effect) for name, effect in OFFERED.items()]
        return Hello(
            protocol_min=1, protocol_max=1, instance_id=self._instance, boot_id="", agent_version="small",
            os="", arch="", clock_unix_ms=int(time.time() * 1000), queue_epoch=self._store.epoch,
            epoch_start_seq=self._store.start, next_seq=self._store.next_seq,
            oldest_unacked_seq=self._store.oldest(), journal_id=self._store.journal_id,
            previous_epochs=self._store.previous, last_core_epoch=self._store.core_epoch(),
            capabilities=tuple(offered), job_slots=SLOTS, held_jobs=tuple(held),
            held_jobs_omitted=left_out, feature_bits=FEATURE_SESSION_EPOCH, last_session_epoch=self._last_session(),
        )  # fmt: skip

    def _last_session(self) -> int:
        known = self._store.session_epoch()
        if self._fault is Fault.SESSION_INVENTED:
            return known or 1
        return 0 if self._fault is Fault.SESSION_UNNAMED else known

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _read(self, stream: Any, session: RunnerSession, hello: Hello) -> None:
        try:
            while (raw := await stream.read()) is not grpc.aio.EOF:
                cursor = session.cursor
                events = session.receive(self._bent(decode_core_frame(raw)), time.monotonic())
                if self._fault is Fault.REWIND_IGNORED and any(isinstance(event, RewindTo) for event in events):
                    session.cursor = cursor
                with self._store.together():
                    for event in events:
                        self._heard(event, hello)
                if session.welcome is not None:
                    self._heard_at = time.monotonic()
                if self._fault is Fault.WINDOW_IGNORED:
                    session._window = Window(10_000, 10**9)
                self._wake.set()
            code, trailing = await stream.code(), await stream.trailing_metadata()
            raise grpc.aio.AioRpcError(code, trailing, trailing)
        except (grpc.aio.AioRpcError, ProtocolError) as error:
            self._ended = error
            self._wake.set()

    def _bent(self, frame: CoreFrame) -> CoreFrame:
        """A frame as a wrong runner reads it."""
        if self._fault is Fault.CRITICAL_IGNORED:
            return replace(frame, envelopes=tuple(replace(one, critical=False) for one in frame.envelopes))
        if self._fault is Fault.PING_IGNORED:
            deaf = [replace(one, body=None) if isinstance(one.body, Ping) else one for one in frame.envelopes]
            return replace(frame, envelopes=tuple(deaf))
        return frame

    def _heard(self, event: object, hello: Hello) -> None:
        match event:
            case Welcomed():
                self._welcomed(event, hello)
            case Acked():
                self._store.acked(event.seq)
            case JobReceived():
                self.work.received(event.job)
            case CancelReceived():
                self.work.cancel(event.cancel)
            case CredentialOffered():
                self._store.put(CredentialReply(event.offer.offer_id, accepted=False, message="a fixed token"))
            case DrainRequested() if self._fault is not Fault.DRAIN_IGNORED:
                self._drain = event
            case PeerClosed():
                told = (("aisops-reason", event.code), ("aisops-retry-after-ms", str(event.retry_after_ms)))
                metadata = grpc.aio.Metadata(*told)
                self._ended = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, metadata, metadata)

    def _welcomed(self, event: Welcomed, hello: Hello) -> None:
        welcome = event.welcome
        if hello.last_core_epoch and hello.last_core_epoch != welcome.core_epoch:
            self.work.resend_all()
        self._store.welcomed(welcome.core_epoch, welcome.session_epoch)
        away_s = time.monotonic() - self._heard_at
        if away_s >= HEARTBEAT_S:
            beats, away_ms = int(away_s / HEARTBEAT_S), int(away_s * 1000)
            self._store.put(Heartbeat(int(time.time() * 1000), offline_beats=beats, offline_ms=away_ms))
        self._store.acked(welcome.ack_watermark.seq)
        held = {one.job_id: one for one in hello.held_jobs}
        for ruling in welcome.job_verdicts:
            if ruling.verdict is Verdict.RESEND_RESULT:
                self.work.resend(ruling.job_id)
            elif ruling.verdict is Verdict.CANCEL and self._fault is not Fault.VERDICT_IGNORED:
                self.work.cancel(JobCancel(ruling.job_id, held[ruling.job_id].lease_id))

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _write(self, stream: Any, session: RunnerSession) -> None:
        await self._flush(stream, session)
        if self._fault is Fault.EARLY_ROWS:
            early = RunnerFrame(self._identity.tenant_id, self._identity.runner_id, tuple(self._store.take(0, 10)))
            await stream.write(encode_runner_frame(early))
        while self._ended is None:
            now = time.monotonic()
            session.tick(now)
            self._beat(session, now)
            window = session.window(now)
            if window:
                session.send_durable(self._fitting(session, window), now)
            await self._flush(stream, session)
            if self._drain is not None and session.acked >= session.cursor:
                await stream.done_writing()
                self._wait_s = self._drain.drain.reconnect_after_ms / 1000
                return
            if self._stopping:
                await self._part(stream, session)
                return
            await self._rest(session)

    def _fitting(self, session: RunnerSession, window: Window) -> list[Any]:
        found, room = [], window.bytes
        for envelope in self._store.take(session.cursor, window.messages):
            if room <= 0:
                break
            room -= len(envelope.sealed) + 64
            found.append(envelope)
        return found

    def _beat(self, session: RunnerSession, now: float) -> None:
        if session.heartbeat_due(now):
            beat = Heartbeat(int(time.time() * 1000), leases=self.work.leases(), free_slots=self.work.free())
            session.send_volatile(beat, now)

    async def _flush(self, stream: Any, session: RunnerSession) -> None:
        for frame in session.frames():
            await stream.write(encode_runner_frame(self._spoiled(frame)))

    def _spoiled(self, frame: RunnerFrame) -> RunnerFrame:
        """A frame as a wrong runner sends it."""
        if self._fault is Fault.FOREIGN_NAME and frame.session_id:
            return replace(frame, runner_id="runner-2")
        if self._fault is Fault.NUMBER_LEFT_OUT:
            late = [replace(one, seq=one.seq + 1) if one.seq > 1 else one for one in frame.envelopes]
            return replace(frame, envelopes=tuple(late))
        return frame

    async def _part(self, stream: Any, session: RunnerSession) -> None:
        if self._fault is not Fault.SILENT_END and session.state in {State.OPEN, State.DRAINING}:
            session.goodbye("stopped", self.work.unfinished(), time.monotonic())
            await self._flush(stream, session)
        await stream.done_writing()

    async def _rest(self, session: RunnerSession) -> None:
        deadline = session.next_deadline() or time.monotonic() + 1
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()
