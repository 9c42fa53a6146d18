"""A real Core store, dispatcher and a scripted Runner for tests below the doors."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from aisops_core.audit.log import AuditLog
from aisops_core.dispatch.dispatcher import Dispatcher
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.records import OpenedSession, SubmitJob
from aisops_core.identity.store import TokenStore
from aisops_core.runners.store import RunnerStore
from aisops_core.storage.engine import Store
from aisops_core.storage.migrate import upgrade
from aisops_core.tenants.principal import Principal
from aisops_core.tenants.store import TenantStore
from aisops_protocol.messages import (
    Capability,
    CoreBody,
    EffectClass,
    ExecutionInfo,
    Heartbeat,
    HeldJob,
    Hello,
    Job,
    JobAccept,
    JobPhase,
    JobResult,
    ResultStatus,
    RunnerBody,
    RunnerEnvelope,
)
from tests.support.postgres import DSN_VARIABLE

Body = TypeVar("Body")
TENANT = "t_default"
OTHER_TENANT = "t_other"
SCHEMA = b'{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}'
INPUT = b'{"text":"hello"}'
IDEMPOTENT = Capability("kakao.send", "kakao", "1.0", EffectClass.IDEMPOTENT, 20_000, SCHEMA)
AT_MOST_ONCE = Capability("email.send", "email", "1.0", EffectClass.AT_MOST_ONCE, 20_000, SCHEMA)
OPERATOR = Principal("api", TENANT, "operator-1", "operator", "tok")


class HeldClock:
    """A clock that moves only when told to. `now_ms` is the machine's wall clock, and may be set."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000
        self.elapsed_s = 1_000.0
        self._shown_ms = self.now_ms

    def unix_ms(self) -> int:
        return self._shown_ms

    def look(self) -> int:
        by_ms, self._shown_ms = self.now_ms - self._shown_ms, self.now_ms
        return by_ms

    def monotonic(self) -> float:
        return self.elapsed_s

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)
        self._shown_ms += round(seconds * 1000)
        self.elapsed_s += seconds


@contextlib.contextmanager
def fresh_database(engine: str, folder: Path, dsn: str | None = None) -> Iterator[str]:
    """The URL of an empty database with the schema in place, on SQLite or PostgreSQL; gone afterwards."""
    if engine == "sqlite":
        url = f"sqlite:///{folder / 'core.db'}"
        upgrade(url)
        yield url
        return
    if not dsn:
        pytest.skip(f"no PostgreSQL: install it or set {DSN_VARIABLE} to run this on it")
    server = make_url(dsn).set(drivername="postgresql+psycopg")
    name = f"aisops_{uuid.uuid4().hex[:12]}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        url = server.set(database=name).render_as_string(hide_password=False)
        upgrade(url)
        yield url
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        admin.dispose()


@dataclass
class Parts:
    """Everything of Core below the doors, wired as the composition root wires it."""

    url: str
    store: Store
    clock: HeldClock
    dispatcher: Dispatcher
    terms: LeaseTerms
    tenants: TenantStore = field(init=False)
    runners: RunnerStore = field(init=False)
    tokens: TokenStore = field(init=False)
    audit: AuditLog = field(init=False)

    def __post_init__(self) -> None:
        self.tenants = TenantStore(self.store, self.clock)
        self.runners = RunnerStore(self.store, self.clock)
        self.tokens = TokenStore(self.store, self.clock, pepper=b"p" * 32, random_bytes=secrets.token_bytes)
        self.audit = AuditLog(self.store)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps, as it does for a process that looks at its clock, and be noticed."""
        while seconds > 0:
            step = min(seconds, 30.0)
            self.clock.advance(step)
            seconds -= step
        self.dispatcher._board.timing.set()

    async def submit(self, capability: str = "kakao.send", **fields: Any) -> Any:
        """Submit one job as the operator."""
        key = fields.pop("idempotency_key", None)
        principal = fields.pop("principal", OPERATOR)
        request = SubmitJob(capability, fields.pop("input", INPUT), **fields)
        job, _ = await self.dispatcher.submit(principal, request, key)
        return job

    async def reaches(self, job_id: str, state: str, tenant_id: str = TENANT) -> Any:
        """The job once it is in this state."""
        return await eventually(self._in_state, job_id, state, tenant_id)

    async def _in_state(self, job_id: str, state: str, tenant_id: str) -> Any:
        job = await self.dispatcher.get(tenant_id, job_id)
        return job if job.state == state else None


async def eventually(look: Any, *args: Any) -> Any:
    """The first truthy value that `look` returns; waits for the condition, not for time."""
    async with asyncio.timeout(20):
        while True:
            found = await look(*args)
            if found:
                return found
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(url: str, clock: HeldClock | None = None, terms: LeaseTerms | None = None) -> AsyncIterator[Parts]:
    """Core's parts, started; two tenants exist."""
    store, terms = Store(url), terms or LeaseTerms()
    clock = clock or HeldClock()
    await store.open()
    try:
        parts = Parts(url, store, clock, Dispatcher(store, clock, random_bytes=secrets.token_bytes, terms=terms), terms)
        await parts.tenants.ensure(TENANT)
        await parts.tenants.ensure(OTHER_TENANT)
        await parts.dispatcher.start()
        try:
            yield parts
        finally:
            await parts.dispatcher.stop()
    finally:
        await store.close()


class ScriptedRunner:
    """A Runner that does what the test says; the other end of an Outlet."""

    def __init__(
        self,
        parts: Parts,
        runner_id: str = "runner-1",
        tenant_id: str = TENANT,
        *,
        capabilities: tuple[Capability, ...] = (IDEMPOTENT, AT_MOST_ONCE),
        slots: int = 4,
        labels: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.parts = parts
        self.principal = Principal("runner", tenant_id, runner_id, "runner", "tok-r")
        self.capabilities, self.slots, self.labels = capabilities, slots, labels
        self.instance_id = secrets.token_bytes(16)
        self.journal_id = secrets.token_bytes(16)
        self.queue_epoch = secrets.token_bytes(16)
        self.core_epoch = b""
        self.seq = 0
        self.answers_ping = True
        self.received: list[CoreBody] = []
        self.closed: list[str] = []
        self.changed = asyncio.Event()
        self.opened: OpenedSession | None = None

    # the Outlet
    behind = False
    peer = "192.0.2.1:50000"

    def send(self, *bodies: CoreBody) -> None:
        self.received.extend(bodies)
        self.changed.set()

    def close(self, code: str, message: str) -> None:
        self.closed.append(code)
        self.changed.set()

    # what the test does
    async def enroll(self) -> ScriptedRunner:
        await self.parts.runners.create(self.principal.tenant_id, self.principal.subject_id)
        return self

    async def connect(self, held: tuple[HeldJob, ...] = (), **fields: Any) -> OpenedSession:
        hello = Hello(
            **{
                "protocol_min": 1,
                "protocol_max": 1,
                "instance_id": self.instance_id,
                "boot_id": "boot",
                "agent_version": "1.0",
                "os": "linux",
                "arch": "x86_64",
                "clock_unix_ms": self.parts.clock.unix_ms(),
                "queue_epoch": self.queue_epoch,
                "epoch_start_seq": 1,
                "next_seq": self.seq + 1,
                "oldest_unacked_seq": 1,
                "journal_id": self.journal_id,
                "last_core_epoch": self.core_epoch,
                "labels": self.labels,
                "capabilities": self.capabilities,
                "job_slots": self.slots,
                "held_jobs": held,
                **fields,
            }
        )
        self.opened = await self.parts.dispatcher.open_session(self.principal, hello, self)
        self.core_epoch = self.opened.welcome.core_epoch
        return self.opened

    async def disconnect(self) -> None:
        assert self.opened is not None
        await self.parts.dispatcher.close_session(self.opened.ref, "test")

    async def deliver(self, *bodies: RunnerBody) -> None:
        assert self.opened is not None
        envelopes = [RunnerEnvelope(body, self.seq + n) for n, body in enumerate(bodies, 1)]
        self.seq += len(bodies)
        await self.parts.dispatcher.deliver(self.opened.ref, self.queue_epoch, envelopes, self.seq)

    async def beat(self, *leases: bytes, free_slots: int | None = None) -> None:
        assert self.opened is not None
        free = self.slots - len(leases) if free_slots is None else free_slots
        beat = Heartbeat(self.parts.clock.unix_ms(), leases=leases, free_slots=free)
        self.parts.dispatcher.heartbeat(self.opened.ref, beat)
        await self.parts.dispatcher._reception.beats.flush()

    async def expect(self, kind: type[Body], count: int = 1) -> list[Body]:
        """The next messages of this kind; they are taken out of what was received."""
        async with asyncio.timeout(20):
            while True:
                found = [body for body in self.received if isinstance(body, kind)]
                if len(found) >= count:
                    taken = found[:count]
                    self.received = [body for body in self.received if not any(body is t for t in taken)]
                    return taken
                self.changed.clear()
                await self.changed.wait()

    async def job(self) -> Job:
        return (await self.expect(Job))[0]

    async def expect_jobs(self, count: int) -> list[Job]:
        return await self.expect(Job, count)

    async def accept(self, job: Job) -> None:
        await self.deliver(JobAccept(job.job_id, job.lease_id, job.attempt))

    async def finish(self, job: Job, output: bytes = b'{"ok":1}') -> None:
        await self.deliver(result(job, output=output))


def held(job: Job, phase: JobPhase) -> tuple[HeldJob, ...]:
    """What a Hello says of one job in the Runner's journal."""
    return (HeldJob(job.job_id, job.lease_id, job.attempt, phase),)


def result(job: Job, status: ResultStatus = ResultStatus.SUCCEEDED, output: bytes = b'{"ok":1}') -> JobResult:
    """A JobResult under the lease the job came with."""
    info = ExecutionInfo("kakao", "1.0", 4711, 1, 1_800_000_000_000, 12)
    return JobResult(job.job_id, job.lease_id, job.attempt, status, output, execution=info)
