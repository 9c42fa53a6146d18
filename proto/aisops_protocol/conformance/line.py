"""One stream of the runner under test, from Core's side: records and judges what comes, says what a check wants said.

Unlike a Core it may keep silent, hold acknowledgements back, repeat itself and lie. It knows no gRPC: `core` gives it
two functions, and gets back how the stream is to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aisops_protocol import messages as m
from aisops_protocol.codec import decode_runner_frame, encode_core_frame
from aisops_protocol.conformance import wire
from aisops_protocol.conformance.ledger import Ledger
from aisops_protocol.conformance.pulse import Pulse
from aisops_protocol.conformance.referee import Breach, Judged, Referee
from aisops_protocol.conformance.transcript import Heard, Transcript
from aisops_protocol.errors import ProtocolError
from aisops_protocol.session import Identity

__all__ = ["CUT", "End", "Line"]


@dataclass(frozen=True, slots=True)
class End:
    """How a stream ends: a gRPC status by name, its text and trailing metadata."""

    status: str = "OK"
    text: str = ""
    trailing: tuple[tuple[str, str], ...] = ()


WRITE_S = 2.0
CUT = End("UNAVAILABLE", "cut")


class Line(Transcript):
    """One stream.

    Args:
        identity: The runner it should be.
        pulse: Beaten whenever something changes.
        ledger: Takes what is committed.
        metadata: Of the call.

    Attributes:
        welcomed: What it was told, once it was.
        acking: Commit and acknowledge at once what comes.
        ponging: Answer heartbeats.
        core_seq: Number of the last message said.
        acked: Highest number acknowledged.
        over: The stream has ended, whoever did it.
        opened_at, over_at: Monotonic seconds.
    """

    def __init__(self, identity: Identity, pulse: Pulse, ledger: Ledger, metadata: Mapping[str, str]) -> None:
        super().__init__()
        self.identity, self.metadata = identity, metadata
        self.welcomed: m.Welcome | None = None
        self.acking = self.ponging = True
        self.core_seq = self.acked = 0
        self.over = False
        self.opened_at, self.over_at = time.monotonic(), 0.0
        self._pulse, self._ledger = pulse, ledger
        self._referee = Referee(identity, self.opened_at)
        self._out: asyncio.Queue[bytes | End] = asyncio.Queue()
        self._end: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._kept: list[Judged] = []
        self._committed = 0

    @property
    def open(self) -> bool:
        """Whether the session is open: welcomed and not over."""
        return self.welcomed is not None and not self.over

    # --- what is said -------------------------------------------------------------------------------------------------

    def frame(self, *envelopes: m.CoreEnvelope) -> m.CoreFrame:
        """A frame of this session."""
        session = self.welcomed.session_id if self.welcomed else b""
        return m.CoreFrame(self.identity.tenant_id, self.identity.runner_id, envelopes, session)

    def say(self, *bodies: m.CoreBody) -> None:
        """Say messages in one frame, numbered once the session is open."""
        self.raw(encode_core_frame(self.frame(*[m.CoreEnvelope(body, self.number()) for body in bodies])))

    def raw(self, frame: bytes) -> None:
        """Say a frame as it is."""
        self._out.put_nowait(frame)

    def newer(self, body: m.CoreBody, arm: int, more: bytes) -> None:
        """Say a message as a newer Core would: with fields or values that this version does not know."""
        frame = self.frame()
        self.raw(wire.frame_of(frame, wire.known(frame, body, self.number(), arm, more)))

    def number(self) -> int:
        """The next number of Core's messages; 0 before the session is open."""
        if self.welcomed is None:
            return 0
        self.core_seq += 1
        return self.core_seq

    def welcome(self, welcome: m.Welcome) -> None:
        """Open the session."""
        self._referee.welcomed(welcome, time.monotonic())
        self.welcomed = welcome
        self._committed = self.acked = welcome.ack_watermark.seq
        if self.hello is not None:
            self._ledger.opened(self.hello, welcome.ack_watermark.seq)
        self.say(welcome)
        self._pulse.beat()

    def commit(self) -> int:
        """Store what came and was kept back; the highest number stored."""
        for judged in self._kept:
            if self.hello is not None:
                self._ledger.commit(self.hello, judged.envelopes, judged.upto_seq)
            self._committed = max(self._committed, judged.upto_seq)
        self._kept.clear()
        return self._committed

    def ack(self, *, messages: int = 0, octets: int = 0, only_to: int | None = None) -> None:
        """Commit what was kept back and acknowledge it, perhaps with another window.

        Args:
            messages: New size of the window; 0 leaves it.
            octets: The same, in octets.
            only_to: Acknowledge no further than this, though more is committed.
        """
        seq = self.commit()
        if only_to is not None:
            seq = min(seq, only_to)
        if self.hello is None:
            return
        self._referee.committed(seq)
        if messages or octets:
            self._referee.widened(messages or 65_536, octets or 1)
        self.acked = max(self.acked, seq)
        self.say(m.Ack(self.hello.queue_epoch, seq, messages, octets))

    def end(self, end: End = CUT, *, after_saying: bool = False) -> None:
        """End the stream: at once, as a broken network does, or after everything said has gone out."""
        if after_saying:
            self._out.put_nowait(end)
        else:
            self._finish(end)

    # --- the stream ---------------------------------------------------------------------------------------------------

    async def carry(
        self, read: Callable[[], Awaitable[bytes | None]], write: Callable[[bytes], Awaitable[None]]
    ) -> End:
        """Read and write until the stream is to end; how.

        Args:
            read: The next frame; None when the runner sends no more. Any exception: the runner has gone.
            write: Takes a frame.
        """
        reading, writing = asyncio.create_task(self._read(read)), asyncio.create_task(self._write(write))
        try:
            end = await asyncio.shield(self._end)  # a cancelled RPC is not an end of ours
            self._out.put_nowait(end)
            await asyncio.wait({writing}, timeout=WRITE_S)  # a write that is cancelled midway spoils the end of the RPC
            return end
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    def closed(self) -> None:
        """The RPC is over."""
        if not self._end.done():
            self.left = True
            self._finish(CUT)
        self.over = True
        self.over_at = self.over_at or time.monotonic()
        self._pulse.beat()

    def _finish(self, end: End) -> None:
        self.over_at = self.over_at or time.monotonic()
        if not self._end.done():
            self._end.set_result(end)

    async def _read(self, read: Callable[[], Awaitable[bytes | None]]) -> None:
        try:
            while (data := await read()) is not None:
                self._take(data)
                self._pulse.beat()
            self.half_closed = self.left = not self._end.done()
            self.end(End(), after_saying=True)
        except Exception:  # noqa: BLE001 - whatever gRPC raises here means that the other side has gone
            self.left = not self._end.done()
            self._finish(CUT)
        self._pulse.beat()

    async def _write(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        with contextlib.suppress(Exception):  # the reader sees that the other side has gone
            while not isinstance(item := await self._out.get(), End):
                await write(item)
            self._finish(item)

    def _take(self, data: bytes) -> None:
        now = time.monotonic()
        self.frame_octets.append(len(data))
        try:
            frame = decode_runner_frame(data)
        except ProtocolError as error:
            self._broke(Breach(error.code, error.message))
            return
        number = len(self.frame_octets)
        self.heard += [Heard(now, number, envelope) for envelope in frame.envelopes]
        judged = self._referee.heard(frame, now)
        if judged.breach is not None:
            self._broke(judged.breach)
            return
        for envelope in frame.envelopes:
            if isinstance(envelope.body, m.Hello):
                self.hello = envelope.body
            elif isinstance(envelope.body, m.Heartbeat) and not envelope.seq and self.ponging:
                self.say(m.Pong(int(time.time() * 1000), envelope.body.clock_unix_ms))
        if judged.upto_seq:
            self._kept.append(judged)
        if self.acking and self.welcomed and any(envelope.seq for envelope in frame.envelopes):
            self.ack()

    def _broke(self, breach: Breach) -> None:
        """Do as Core does: say why, and end the stream."""
        self.breaches.append(breach)
        self.say(m.CoreGoodbye(breach.code, breach.text[:1000]))
        self.end(End("ABORTED", breach.text, (("aisops-reason", breach.code),)), after_saying=True)
