"""The stream's reader: jobs of a frame go on together, in their place, and the sender is woken for the rest alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest

from aisops_protocol.codec import encode_core_frame
from aisops_protocol.messages import (
    Ack,
    CoreBody,
    CoreEnvelope,
    CoreFrame,
    EffectClass,
    HeldJob,
    Hello,
    Job,
    JobCancel,
    Slow,
    Welcome,
)
from aisops_protocol.session import Identity, RunnerSession
from aisops_runner.bell import Bell
from aisops_runner.clock import SystemClock
from aisops_runner.uplink.dialer import Stream
from aisops_runner.uplink.reader import Reader

EPOCH, SESSION, LEASE = b"e" * 16, b"s" * 16, b"l" * 16
HELLO = Hello(1, 1, b"i" * 16, "", "1", "", "", 1, EPOCH, 1, 1, 1, b"j" * 16)
WELCOME = Welcome(SESSION, 1, b"c" * 16, "core", 1, 1, Ack(EPOCH, 0), 15_000, 60_000)


class Around:
    """What stands around a reader: the stream it reads, and everybody it tells, who keep what they are told."""

    draining = False
    free_slots = 1

    def __init__(self) -> None:
        self.told: list[str] = []
        self._frames: list[bytes] = []
        self._seq = 0
        self.say(WELCOME)

    def say(self, *bodies: CoreBody) -> None:
        """Have Core send these in one frame."""
        envelopes = tuple(CoreEnvelope(body, self._seq + place) for place, body in enumerate(bodies, 1))
        self._seq += len(bodies)
        self._frames.append(encode_core_frame(CoreFrame("t", "r", envelopes, SESSION)))

    async def read(self) -> bytes | None:
        return self._frames.pop(0) if self._frames else None

    def deliver(self, jobs: Iterable[Job]) -> None:
        self.told.append("+".join(job.job_id for job in jobs))

    def cancel(self, cancel: JobCancel) -> None:
        self.told.append(f"cancel {cancel.job_id}")

    def ack(self, seq: int) -> None:
        self.told.append(f"ack {seq}")

    def opened(self, welcome: Welcome) -> None:
        self.told.append("opened")

    def confirm(self, job_id: str) -> None: ...

    def resend(self, job_id: str, lease_id: bytes, attempt: int) -> None: ...

    async def resend_all(self) -> None: ...

    def leases(self) -> tuple[bytes, ...]:
        return ()

    async def held_jobs(self) -> tuple[HeldJob, ...]:
        return ()

    def measured(self, rtt_s: float, skew_s: float) -> None: ...


def job(name: str) -> Job:
    return Job(name, LEASE, 1, "x.do", b"{}", b"h" * 32, name, EffectClass.IDEMPOTENT, 1000, 1000)


def reader_of(around: Around, wake: Bell) -> Reader:
    session = RunnerSession(Identity("t", "r"), HELLO, 0.0)
    session.start(0.0)
    ends = {"outbox": cast("Any", around), "jobs": around, "clock": SystemClock(), "observer": around, "wake": wake}
    return Reader(cast("Stream", around), session, HELLO, **cast("Any", ends))


async def rung(bell: Bell) -> bool:
    """Whether a wait returns at once."""
    task = asyncio.create_task(bell.wait())
    await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    return done


async def test_jobs_go_on_together_and_before_what_came_behind_them() -> None:
    around = Around()
    around.say(job("a"), job("b"), JobCancel("b", LEASE), job("c"))
    await reader_of(around, Bell()).run()
    assert around.told[-3:] == ["a+b", "cancel b", "c"]


@pytest.mark.parametrize(
    ("bodies", "woken"),
    [((job("a"), job("b")), False), ((Ack(EPOCH, 0, 500, 5000),), True), ((job("a"), Slow(10)), True)],
)
async def test_the_sender_is_woken_for_all_but_jobs(bodies: tuple[CoreBody, ...], woken: bool) -> None:
    around, wake = Around(), Bell()
    reader = reader_of(around, wake)
    reader._take(cast("bytes", await around.read()))
    assert await rung(wake)
    around.say(*bodies)
    reader._take(cast("bytes", await around.read()))
    assert await rung(wake) is woken
