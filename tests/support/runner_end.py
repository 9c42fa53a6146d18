"""A composed delivery half of a Runner (outbox, executor, uplink) beside a scripted provider, for tests."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aisops_protocol.messages import (
    Capability,
    EffectClass,
    Job,
    JobResult,
)
from aisops_runner.adapters.calls import Call, Ended, Outcome
from aisops_runner.adapters.tasks import CallTasks
from aisops_runner.clock import SystemClock
from aisops_runner.errors import RefusedForGood
from aisops_runner.identity.credentials import RunnerToken
from aisops_runner.jobs.executor import Executor
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.uplink.dialer import Endpoint, GrpcDialer
from aisops_runner.uplink.hello import Profile
from aisops_runner.uplink.pump import Uplink
from tests.support.core_end import RUNNER, TENANT, CoreEnd

OFFERED = frozenset({"x.do"})


class Provider:
    """Runs calls and remembers the effects, as an outside service would."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self.gate.set()
        self.warm = asyncio.Event()
        self.warm.set()
        self.output = b'{"done":true}'
        self.cancelled: list[str] = []
        self.changed = asyncio.Event()
        self._tasks = CallTasks(self.invoke)

    def begin(self, calls: Sequence[Call], ended: Ended) -> None:
        for call in calls:
            self._tasks.begin(call, ended)

    def cut_off(self, job_id: str) -> None:
        self._tasks.cut_off(job_id)

    async def called(self, times: int) -> None:
        async with asyncio.timeout(10):
            while sum(self.effects.values()) < times:
                self.changed.clear()
                await self.changed.wait()

    async def invoke(self, call: Call) -> Outcome:
        self.effects[call.effect_key] += 1
        self.changed.set()
        await self.gate.wait()
        return Outcome(ok=True, output=self.output, plugin="test", plugin_version="1")

    def ready(self, capability: str) -> bool:
        return self.warm.is_set()

    async def prepare(self, capability: str) -> None:
        await self.warm.wait()

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        self.gate.set()


@dataclass
class Ends:
    """A Runner without plugins: the real outbox, executor and uplink."""

    outbox: Outbox
    executor: Executor
    uplink: Uplink
    provider: Provider


@asynccontextmanager
async def runner(
    directory: Path,
    port: int,
    *,
    provider: Provider | None = None,
    slots: int = 64,
    token: str = "",
    endpoint: Endpoint | None = None,
    beat_s: float = 15.0,
    capabilities: Sequence[Capability] = (),
) -> AsyncIterator[Ends]:
    """Start; at the end stop without a goodbye, as a crash would (what is in memory is lost)."""
    outbox = await Outbox.open(directory)
    provider = provider or Provider()
    clock = SystemClock()
    executor = Executor(outbox, provider, offered=OFFERED, tenant_id=TENANT, runner_id=RUNNER, slots=slots, clock=clock)
    uplink = Uplink(
        GrpcDialer(
            endpoint or Endpoint("127.0.0.1", port, plaintext=True), lambda: RunnerToken(token) if token else None
        ),
        outbox=outbox,
        jobs=executor,
        profile=Profile(TENANT, RUNNER, "1.0", job_slots=slots),
        capabilities=lambda: list(capabilities),
        clock=clock,
        endpoint="test",
        beat_s=beat_s,
        draw=lambda: 0.01,
    )
    await executor.restore()
    tasks = [asyncio.create_task(executor.run()), asyncio.create_task(uplink.run())]
    try:
        yield Ends(outbox, executor, uplink, provider)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        executor._calls.cut_off_all()
        await outbox.close()
        assert all(isinstance(one, (asyncio.CancelledError, type(None), RefusedForGood)) for one in results), results


async def lost(ends: Ends) -> None:
    """Wait until the uplink has said why it has no connection."""
    async with asyncio.timeout(20):
        while not ends.uplink.status.last_error:
            ends.uplink._progress.clear()
            await ends.uplink._progress.wait()


def job(number: int, effect: EffectClass = EffectClass.AT_MOST_ONCE, lease: int = 1) -> Job:
    name = f"job-{number}"
    lease_id = lease.to_bytes(8, "big") + number.to_bytes(8, "big")
    return Job(name, lease_id, 1, "x.do", b"{}", hashlib.sha256(b"{}").digest(), name, effect, 30_000)


def all_done(core: CoreEnd, count: int) -> Callable[[], bool]:
    return lambda: len(core.of(JobResult)) >= count
