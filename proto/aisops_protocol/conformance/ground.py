"""Where one check takes place: a Core, an outside world, the runner under test, and the verbs of its script."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from aisops_protocol import messages as m
from aisops_protocol.conformance.core import Core
from aisops_protocol.conformance.effects import Effect, Effects
from aisops_protocol.conformance.findings import Skipped, Unmet
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.process import RunnerProcess
from aisops_protocol.conformance.pulse import Pulse
from aisops_protocol.limits import FEATURE_SESSION_EPOCH

__all__ = ["AT_MOST_ONCE", "CAPABILITIES", "IDEMPOTENT", "Ground", "demand", "skip_unless", "told"]

T = TypeVar("T")

IDEMPOTENT, AT_MOST_ONCE = "conformance.idempotent", "conformance.at_most_once"
CAPABILITIES: Mapping[str, m.EffectClass] = {
    IDEMPOTENT: m.EffectClass.IDEMPOTENT,
    AT_MOST_ONCE: m.EffectClass.AT_MOST_ONCE,
}
SOON_S = 15.0
CONNECT_S = 30.0
ATTACHED_S = 90.0
"""A runner that nobody can start afresh may still be in the longest wait that an earlier check led it into."""
BEAT_MS = 2_000
EPOCH_STEP = 7
"""Session epochs rise, and not by one: a runner that counts sessions itself names others."""


def demand(fact: object, expected: str, came: str) -> None:
    """Raise `Unmet` unless a fact holds."""
    if not fact:
        raise Unmet(expected, came)


def skip_unless(fact: object, why: str) -> None:
    """Raise `Skipped` unless a fact holds."""
    if not fact:
        raise Skipped(why)


class Ground:
    """One check's surroundings.

    Attributes:
        core: Its streams and its ledger.
        process: The runner, when the kit started it.
        token: The credential the runner was given; empty when it is not known.
        seed: Of this run and check; what `chance` draws from.
    """

    def __init__(
        self,
        core: Core,
        effects: Effects,
        pulse: Pulse,
        *,
        process: RunnerProcess | None,
        seed: str,
        token: str,
        wants_work: bool,
    ) -> None:
        self.core, self.process, self.token, self.seed = core, process, token, seed
        self._effects, self._pulse, self._wants_work = effects, pulse, wants_work
        self._leased: dict[str, m.Job] = {}
        self._connect_s = ATTACHED_S if process is None else CONNECT_S
        self._first = self._taken = len(core.lines)

    # --- waiting ------------------------------------------------------------------------------------------------------

    @property
    def lines(self) -> list[Line]:
        """The streams of this check."""
        return self.core.lines[self._first :]

    async def until(self, condition: Callable[[], T], expected: str, within_s: float = SOON_S) -> T:
        """Wait for a condition and return what it gave.

        Raises:
            Unmet: It did not come true in time, or the runner broke a rule meanwhile.
        """
        found = await self._pulse.until(lambda: condition() or self._breach(), within_s)
        self._check_breach(expected)
        if not found:
            raise Unmet(f"{expected}, within {within_s * self._pulse.patience:.0f} s", self.trace())
        return condition()

    async def never(self, condition: Callable[[], object], seconds: float, expected: str) -> None:
        """Watch for a while that a condition stays false. Raises `Unmet` when it does not."""
        found = await self._pulse.rest(seconds, lambda: condition() or self._breach())
        self._check_breach(expected)
        demand(not found, expected, self.trace())

    async def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        await self._pulse.rest(seconds, bool)

    def trace(self) -> str:
        """What was heard last, over all streams."""
        if not self.lines:
            return "no stream at all"
        return "; on the next stream ".join(line.trace() for line in self.lines[-3:])

    def _breach(self) -> str:
        return next((str(breach) for line in self.lines for breach in line.breaches), "")

    def _check_breach(self, expected: str) -> None:
        if breach := self._breach():
            raise Unmet(f"{expected}, and no breach of the contract before", breach)

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def call(self, within_s: float = 0.0) -> Line:
        """The next stream the runner opens."""
        await self.until(
            lambda: len(self.core.lines) > self._taken, "a stream from the runner", within_s or self._connect_s
        )
        line = self.core.lines[self._taken]
        self._taken += 1
        return line

    async def greeted(self, within_s: float = 0.0) -> Line:
        """The next stream, with its Hello."""
        line = await self.call(within_s)
        await self.until(lambda: line.hello, "a Hello as the first message of the stream")
        return line

    async def open(self, *, acking: bool = True, within_s: float = 0.0, **welcome: Any) -> Line:
        """The next stream, welcomed; see `welcome` for the options.

        Raises:
            Skipped: The check needs the test capabilities and this runner does not offer them.
        """
        line = await self.greeted(within_s)
        while self._wants_work and not _offers_work(line):
            self.welcome(line)
            if not await self._pulse.until(lambda: len(self.core.lines) > self._taken, SOON_S):
                raise Skipped("the runner does not offer the two test capabilities")
            line = await self.greeted()
        line.acking = acking
        self.welcome(line, **welcome)
        return line

    def welcome(
        self,
        line: Line,
        *,
        watermark: int | None = None,
        verdicts: Mapping[str, m.Verdict] | None = None,
        **fields: Any,
    ) -> m.Welcome:
        """Say Welcome.

        Args:
            line: To whom.
            watermark: Where the durable lane stands; by default what the ledger says.
            verdicts: Rulings on held jobs; others are kept when they are this check's and have no result yet.
            fields: Fields of the Welcome.
        """
        hello = line.greeting
        seq = self.core.ledger.resume(hello).seq if watermark is None else watermark
        rulings = [m.JobVerdict(one.job_id, self._ruling(one, verdicts or {})) for one in hello.held_jobs]
        given: dict[str, Any] = {
            "session_id": secrets.token_bytes(16),
            "session_epoch": EPOCH_STEP * len(self.core.lines),
            "core_epoch": self.core.epoch,
            "core_replica": "conformance",
            "protocol": hello.protocol_max,
            "clock_unix_ms": int(time.time() * 1000),
            "ack_watermark": m.Ack(hello.queue_epoch, seq),
            "heartbeat_interval_ms": BEAT_MS,
            "feature_bits": hello.feature_bits & FEATURE_SESSION_EPOCH,
            "job_verdicts": tuple(rulings),
        }
        made = m.Welcome(**{**given, **fields})
        line.welcome(made)
        return made

    def _ruling(self, held: m.HeldJob, verdicts: Mapping[str, m.Verdict]) -> m.Verdict:
        if held.job_id in verdicts:
            return verdicts[held.job_id]
        job = self._leased.get(held.job_id)
        keep = job is not None and job.lease_id == held.lease_id and not self.core.ledger.results(held.job_id)
        return m.Verdict.KEEP if keep else m.Verdict.CANCEL

    async def cut(self, line: Line) -> None:
        """Cut a stream as a network does, and wait until it is gone."""
        line.end()
        await self._pulse.until(lambda: line.over, SOON_S)

    async def left(self, line: Line, expected: str, within_s: float = SOON_S) -> None:
        """Wait until the runner has ended the stream."""
        await self.until(lambda: line.left, expected, within_s)

    async def beat(self, line: Line) -> m.Heartbeat:
        """Ask for a heartbeat; once it is there, the runner has read everything said before."""
        nonce = secrets.randbits(40) + 1
        line.say(m.Ping(nonce))
        return (
            await self.until(lambda: line.all(m.Heartbeat, ping_nonce=nonce), f"a Heartbeat answering Ping {nonce}")
        )[0]

    def chance(self, name: str) -> random.Random:
        """A source of chance that gives the same again for the same seed."""
        return random.Random(f"{self.seed}:{name}")  # noqa: S311 - replayable on purpose

    # --- the runner's process -----------------------------------------------------------------------------------------

    @property
    def life(self) -> RunnerProcess:
        """The runner's process. Raises `Skipped` when the kit did not start it."""
        if self.process is None:
            raise Skipped("the kit did not start this runner")
        return self.process

    async def kill(self) -> None:
        """End the runner as a power cut does."""
        await self.life.kill()
        await self._pulse.until(lambda: all(line.over for line in self.lines), SOON_S)

    async def crash(self) -> None:
        """Kill the runner and start it again."""
        await self.kill()
        await self.life.start()

    # --- work ---------------------------------------------------------------------------------------------------------

    def effect(self, *, pad: int = 0, status: int = 200, held: bool = False) -> Effect:
        """Something a job can do."""
        return self._effects.make(pad=pad, status=status, held=held)

    async def under_way(self, capability: str = IDEMPOTENT, **fields: Any) -> tuple[Line, Effect, m.Job]:
        """A stream, and on it a job whose effect has been called and does not answer yet."""
        line = await self.open()
        effect = self.effect(held=True)
        job = self.job(effect, capability, **fields)
        self.send(line, job)
        await self.called(effect)
        return line, effect, job

    def job(self, effect: Effect, capability: str = IDEMPOTENT, *, fill: int = 0, **fields: Any) -> m.Job:
        """A job that does it; `fill` octets make its input larger."""
        given = {"url": effect.url, **({"fill": "x" * fill} if fill else {})}
        data = json.dumps(given, separators=(",", ":")).encode()
        name = f"job-{secrets.token_hex(6)}"
        whole: dict[str, Any] = {
            "job_id": name,
            "lease_id": secrets.token_bytes(16),
            "attempt": 1,
            "capability": capability,
            "input": data,
            "input_sha256": hashlib.sha256(data).digest(),
            "effect_key": f"key-of-{name}",
            "effect_class": CAPABILITIES.get(capability, m.EffectClass.IDEMPOTENT),
            "timeout_ms": 60_000,
        }
        return m.Job(**{**whole, **fields})

    def lease(self, *jobs: m.Job) -> None:
        """Lease jobs to the runner: they are kept when it names them in a Hello."""
        for job in jobs:
            self._leased[job.job_id] = job

    def send(self, line: Line, *jobs: m.Job) -> None:
        """Lease jobs to the runner and send them."""
        self.lease(*jobs)
        line.say(*jobs)

    def results(self, job: m.Job) -> list[m.JobResult]:
        """Every result heard for a job, repetitions of the same message left out."""
        found: dict[tuple[bytes, int], m.JobResult] = {}
        for line in self.lines:
            epoch = line.hello.queue_epoch if line.hello else b""
            for one in line.numbered():
                if isinstance(one.envelope.body, m.JobResult) and one.envelope.body.job_id == job.job_id:
                    found.setdefault((epoch, one.envelope.seq), one.envelope.body)
        return list(found.values())

    async def result(self, job: m.Job, within_s: float = SOON_S) -> m.JobResult:
        """The first result of a job."""
        return (await self.until(lambda: self.results(job), f"a JobResult of {job.job_id}", within_s))[0]

    async def accepted(self, line: Line, job: m.Job) -> None:
        """Wait for a job's JobAccept under its lease."""
        asked = f"a JobAccept of {job.job_id} under its lease"
        await self.until(lambda: line.all(m.JobAccept, job_id=job.job_id, lease_id=job.lease_id), asked)

    async def called(self, effect: Effect, times: int = 1, within_s: float = SOON_S) -> None:
        """Wait until an effect was called so often."""
        await self.until(lambda: len(effect.calls) >= times, f"call {times} of the job's effect", within_s)

    async def done(self, line: Line, job: m.Job) -> m.JobResult:
        """Send a job and wait until it has succeeded."""
        self.send(line, job)
        result = await self.result(job)
        demand(result.status is m.ResultStatus.SUCCEEDED, f"{job.job_id} SUCCEEDED", told(result))
        return result


def told(result: m.JobResult) -> str:
    """A result in words."""
    why = f" ({result.error.code}: {result.error.message})" if result.error else ""
    return f"{result.status.name}{why}"


def _offers_work(line: Line) -> bool:
    return line.hello is not None and CAPABILITIES.keys() <= {one.name for one in line.hello.capabilities}
