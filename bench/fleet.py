"""Many Runners in one process: each its own mTLS connection, dialled as a Runner dials, speaking the real protocol.

A fleet has no outbox, no journal and no plugins: what is left of a Runner is its session. It dials with the Runner's
own dialer, says a full Hello, beats when the protocol's machine says so, and after a loss comes back by the Runner's
own schedule. Several fleets stand beside each other when one process is not enough.

`python -m bench.fleet HOST:PORT CA CERT KEY` reads one JSON line `{"tokens": {runner_id: token}, "tenant_id": …,
"capabilities": N}` and then commands, one a line, each answered by one JSON line:

    connect SPREAD_S   dial with every Runner, each after a random pause of at most SPREAD_S; the answer comes once all
                       are welcome
    drop               lose every connection without a word, as a cut cable would look to Core
    figures            what happened so far: welcomes, losses, beats, pongs, round trips
    stop               say goodbye with every Runner and end
"""

from __future__ import annotations

import asyncio
import heapq
import json
import os
import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aisops_protocol.codec import decode_core_frame, encode_runner_frame
from aisops_protocol.errors import ProtocolError
from aisops_protocol.limits import FRAME_BYTES, PROTOCOL_MAX, PROTOCOL_MIN
from aisops_protocol.messages import Capability, EffectClass, Heartbeat, Hello, QueueStats
from aisops_protocol.session import Identity, PongReceived, RunnerSession, Welcomed
from aisops_runner.errors import UplinkLost
from aisops_runner.identity.credentials import RunnerToken
from aisops_runner.uplink.dialer import Endpoint, GrpcDialer, Stream
from aisops_runner.uplink.schedule import Schedule

SLOTS = 16
DIALLING = 250
"""Runners of one process that dial at the same time. Real Runners dial each on its own machine; here all of them share
an event loop, and with thousands at once each would answer Core's half of a handshake too late."""
SCHEMA = b'{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}'


def capabilities_of(count: int) -> tuple[Capability, ...]:
    """What every Runner of the fleet offers: as many capabilities as four plugins have."""
    kinds = (f"fleet.kind-{number}" for number in range(count))
    return tuple(Capability(name, "fleet", "1.0", EffectClass.IDEMPOTENT, 20_000, SCHEMA) for name in kinds)


class Beats:
    """When which member beats next: one heap and one task for the whole fleet."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Member]] = []
        self._count = 0

    def add(self, member: Member, at: float) -> None:
        """Look at this member then (monotonic seconds)."""
        self._count += 1
        heapq.heappush(self._due, (at, self._count, member))

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2].tick(now)
            await asyncio.sleep(min(0.25, max(0.01, self._due[0][0] - now)) if self._due else 0.25)


class Member:
    """One Runner of the fleet."""

    def __init__(self, fleet: Fleet, runner_id: str, token: str) -> None:
        self._fleet, self._identity = fleet, Identity(fleet.tenant_id, runner_id)
        credential = RunnerToken(token)
        self._dial = GrpcDialer(fleet.endpoint, lambda: credential)
        self._schedule = Schedule(random.random)
        self._instance_id, self._journal_id, self._epoch = os.urandom(16), os.urandom(16), os.urandom(16)
        self._core_epoch = b""
        self._stream: Stream | None = None
        self._session: RunnerSession | None = None
        self._life: asyncio.Task[None] | None = None
        self.welcome = False

    def begin(self, pause_s: float) -> None:
        """Dial after a pause, and again after every loss, until `end`."""
        self._life = asyncio.create_task(self._live(pause_s))

    async def end(self) -> None:
        """Drop the connection and stay away."""
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    async def goodbye(self) -> None:
        """End the session in order."""
        if self._session is not None and self.welcome:
            self._session.goodbye("the benchmark is over", (), time.monotonic())
            await self._flush()

    def tick(self, now: float) -> None:
        """Beat when it is time."""
        session = self._session
        if session is None or not self.welcome:
            return
        if session.heartbeat_due(now):
            beat = Heartbeat(time.time_ns() // 1_000_000, free_slots=SLOTS)
            session.send_volatile(beat, now)
            self._fleet.count["beats"] += 1
            task = asyncio.create_task(self._flush())
            self._fleet.writing.add(task)
            task.add_done_callback(self._fleet.writing.discard)
        self._look_again()

    def _look_again(self) -> None:
        deadline = self._session.next_deadline() if self._session is not None else None
        if deadline is not None:
            self._fleet.beats.add(self, deadline)

    async def _live(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            opened: float | None = None
            try:
                async with self._fleet.dialling:
                    self._stream = await self._dial()
                    opened = time.monotonic()
                    await self._greet()
                await self._session_long()
                self._schedule.good()
                pause_s = 0.0
            except (UplinkLost, ProtocolError) as error:
                lost = error if isinstance(error, UplinkLost) else UplinkLost(str(error), reason="protocol")
                lasted = time.monotonic() - opened if opened is not None and self.welcome else None
                self._fleet.count[f"lost: {lost.reason or lost}"] += 1
                pause_s = self._schedule.lost(lost, lasted)
            finally:
                self._fleet.lost(self)
                stream, self._stream, self._session = self._stream, None, None
                if stream is not None:
                    await stream.close()

    async def _greet(self) -> None:
        """Say Hello and read until Core's Welcome."""
        self._session = RunnerSession(self._identity, self._hello(), time.monotonic(), random.uniform(-1, 1))
        self._session.start(time.monotonic())
        await self._flush()
        while not self.welcome:
            if not await self._read_one():
                raise UplinkLost("Core ended the stream before its Welcome", reason="ended")

    async def _session_long(self) -> None:
        while await self._read_one():
            pass

    async def _read_one(self) -> bool:
        """Take one frame; False at the end of the stream."""
        session, stream = self._session, self._stream
        data = await stream.read() if stream is not None else None
        if data is None or session is None:
            return False
        for event in session.receive(decode_core_frame(data), time.monotonic()):
            match event:
                case Welcomed():
                    self._core_epoch = event.welcome.core_epoch
                    self._fleet.welcomed(self)
                    self.tick(time.monotonic())
                case PongReceived():
                    self._fleet.pong(event.rtt_s)
                case _:
                    self._fleet.count[type(event).__name__] += 1
                    if session.heartbeat_due(time.monotonic()):
                        self.tick(time.monotonic())
        return True

    async def _flush(self) -> None:
        session, stream = self._session, self._stream
        if session is None or stream is None:
            return
        try:
            for frame in session.frames():
                await stream.write(encode_runner_frame(frame))
        except UplinkLost:
            return  # the reader learns of it too, and acts

    def _hello(self) -> Hello:
        return Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            instance_id=self._instance_id,
            boot_id="fleet",
            agent_version="0.1",
            os="Linux",
            arch="x86_64",
            clock_unix_ms=time.time_ns() // 1_000_000,
            queue_epoch=self._epoch,
            epoch_start_seq=1,
            next_seq=1,
            oldest_unacked_seq=1,
            journal_id=self._journal_id,
            last_core_epoch=self._core_epoch,
            labels=(("site", self._identity.runner_id),),
            capabilities=self._fleet.capabilities,
            max_message_bytes=FRAME_BYTES,
            job_slots=SLOTS,
            queue_stats=QueueStats(),
        )


class Fleet:
    """Every Runner of this process, and what happened to them."""

    def __init__(self, endpoint: Endpoint, tokens: dict[str, str], tenant_id: str, capabilities: int) -> None:
        self.endpoint, self.tenant_id = endpoint, tenant_id
        self.capabilities = capabilities_of(capabilities)
        self.beats = Beats()
        self.count: Counter[str] = Counter()
        self.writing: set[asyncio.Task[None]] = set()
        self.dialling = asyncio.Semaphore(DIALLING)
        self.round_trips_s: list[float] = []
        self._members = [Member(self, runner_id, token) for runner_id, token in tokens.items()]
        self._open = 0
        self._all = asyncio.Event()
        self._welcomes_s: list[float] = []
        self._begun = 0.0

    def welcomed(self, member: Member) -> None:
        """A session is open."""
        member.welcome = True
        self._open += 1
        self._welcomes_s.append(time.monotonic() - self._begun)
        self.count["welcomes"] += 1
        if self._open == len(self._members):
            self._all.set()

    def lost(self, member: Member) -> None:
        """A session is over."""
        if member.welcome:
            member.welcome = False
            self._open -= 1
            self._all.clear()

    def pong(self, rtt_s: float) -> None:
        """A heartbeat was answered."""
        self.count["pongs"] += 1
        self.round_trips_s.append(rtt_s)

    async def connect(self, spread_s: float) -> dict[str, Any]:
        """Dial with everybody at once and wait until all are welcome."""
        self._begun, self._welcomes_s = time.monotonic(), []
        used = time.process_time()
        for member in self._members:
            member.begin(random.uniform(0, spread_s))
        await self._all.wait()
        times = sorted(self._welcomes_s)
        half, most = times[len(times) // 2], times[int(len(times) * 0.99)]
        return {"all_s": times[-1], "p50_s": half, "p99_s": most, "cpu_s": time.process_time() - used, **self.counts()}

    async def drop(self) -> dict[str, Any]:
        """Lose every connection."""
        await asyncio.gather(*(member.end() for member in self._members))
        return self.counts()

    async def stop(self) -> dict[str, Any]:
        """Goodbye from everybody."""
        await asyncio.gather(*(member.goodbye() for member in self._members))
        return await self.drop()

    def counts(self) -> dict[str, Any]:
        """What happened since this was last asked."""
        trips = sorted(self.round_trips_s)
        figures: dict[str, Any] = {"open": self._open, "count": dict(self.count), "cpu_total_s": time.process_time()}
        if trips:
            figures |= {"rtt_p50_ms": 1000 * trips[len(trips) // 2], "rtt_p99_ms": 1000 * trips[int(len(trips) * 0.99)]}
        self.count.clear()
        self.round_trips_s.clear()
        return figures


async def obey(fleet: Fleet) -> None:
    """Read commands until `stop` or the end of standard input."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(fleet.beats.run())
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).split():
            match line:
                case ["connect", spread_s]:
                    answer = await fleet.connect(float(spread_s))
                case ["drop"]:
                    answer = await fleet.drop()
                case ["figures"]:
                    answer = fleet.counts()
                case ["stop"]:
                    answer = await fleet.stop()
                case _:
                    answer = {"error": f"unknown command {line}"}
            print(json.dumps(answer), flush=True)
            if line[0] == "stop":
                break
        beating.cancel()


def main() -> None:
    """Read the arguments and the tokens, then obey."""
    target, ca, cert, key = sys.argv[1:5]
    host, _, port = target.rpartition(":")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    given = json.loads(sys.stdin.readline())
    endpoint = Endpoint(
        host, int(port), ca=Path(ca).read_bytes(), certificate=Path(cert).read_bytes(), key=Path(key).read_bytes()
    )
    fleet = Fleet(endpoint, given["tokens"], given["tenant_id"], given["capabilities"])
    asyncio.run(obey(fleet))


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    main()
