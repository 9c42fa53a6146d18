"""Giving a runner more jobs to hold than its Hello may list, in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.conformance.effects import Effect
from aisops_protocol.conformance.findings import Skipped
from aisops_protocol.conformance.ground import AT_MOST_ONCE, Ground, skip_unless
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.transcript import Transcript

__all__ = ["WIDE", "Answers", "Load", "loaded"]

WIDE: Final[dict[str, Any]] = {
    "max_inflight_messages": limits.WINDOW_MESSAGES,
    "max_inflight_bytes": limits.WINDOW_BYTES,
}
"""A window through which everything comes without an acknowledgement."""
DONE: Final = 8
FEWEST, MOST = 32, 1024
"""So many jobs are sent at once: as many as the runner has slots, within these bounds."""


class Answers:
    """What became of a stream's jobs. Reads on from where it read last: there are thousands.

    Attributes:
        ended: Job → result, in the order of their numbers.
        refused: Job → why it was rejected.
    """

    def __init__(self, line: Transcript) -> None:
        self.ended: dict[str, m.JobResult] = {}
        self.refused: dict[str, m.RejectReason] = {}
        self._line, self._read = line, 0

    def to(self, jobs: Sequence[m.Job]) -> bool:
        """Whether each of these jobs has its answer."""
        for one in self._line.heard[self._read :]:
            body = one.envelope.body
            if isinstance(body, m.JobResult):
                self.ended.setdefault(body.job_id, body)
            elif isinstance(body, m.JobReject):
                self.refused[body.job_id] = body.reason
        self._read = len(self._line.heard)
        return all(job.job_id in self.ended or job.job_id in self.refused for job in jobs)


@dataclass(frozen=True, slots=True)
class Load:
    """What a runner holds: one job that runs, and so many ended ones that its Hello has no room for all.

    Attributes:
        line: The stream they came by; nothing in it is acknowledged.
        running: The one that has not ended; neither the oldest nor the newest.
        held: What it waits for.
        jobs: The ended ones, by id.
        outcome: Their results, in the order of their numbers.
        done: Effects of those that were done, whose results come first.
        undone: The effect of all others, which made no call.
    """

    line: Line
    running: m.Job
    held: Effect
    jobs: dict[str, m.Job]
    outcome: dict[str, m.JobResult]
    done: tuple[Effect, ...]
    undone: Effect

    def done_again(self) -> bool:
        """Whether there was a call for a job that had ended."""
        return any(len(effect.calls) > 1 for effect in self.done) or bool(self.undone.calls)


class Filling:
    """Makes jobs end without a call: each is cancelled ahead of its arrival.

    Args:
        ground: Where.
        line: The stream; nothing in it is acknowledged.

    Attributes:
        answers: What became of every job of the stream.
        effect: What they would do.
        jobs: Those that ended, by id.
    """

    def __init__(self, ground: Ground, line: Line) -> None:
        self.answers, self.effect = Answers(line), ground.effect()
        self.jobs: dict[str, m.Job] = {}
        self._ground, self._line = ground, line
        self._wave = min(max(line.greeting.job_slots, FEWEST), MOST)

    async def to(self, count: int) -> None:
        """Go on until so many have ended.

        Raises:
            Skipped: The runner does not take so many.
        """
        while missing := count - len(self.jobs):
            before = len(self.jobs)
            await self._send(min(missing, self._wave))
            if len(self.jobs) == before:  # and nothing is under way whose end would make room
                why = next(reversed(self.answers.refused.values())).name
                raise Skipped(f"the runner holds no more than {len(self.answers.ended)} ended jobs ({why})")

    async def _send(self, count: int) -> None:
        """Send jobs behind their cancellations and wait for the answers."""
        jobs = [self._ground.job(self.effect, AT_MOST_ONCE) for _ in range(count)]
        self._ground.lease(*jobs)
        self._line.say(*[body for job in jobs for body in (m.JobCancel(job.job_id, job.lease_id), job)])
        await self._ground.until(lambda: self.answers.to(jobs), f"an answer to each of {count} jobs")
        self.jobs |= {job.job_id: job for job in jobs if job.job_id in self.answers.ended}


async def loaded(ground: Ground) -> Load:
    """Let a few jobs be done, one run, and thousands end without a call.

    Raises:
        Skipped: The runner has a single slot, holds something already, or does not take so many.
    """
    line = await ground.open(acking=False, **WIDE)
    skip_unless(line.greeting.job_slots > 1, "the runner has one slot; give it two at least")
    skip_unless(not line.greeting.held_jobs, "the runner holds jobs of other checks")
    effects = tuple(ground.effect() for _ in range(DONE))
    done = [ground.job(effect, AT_MOST_ONCE) for effect in effects]
    for job in done:
        await ground.done(line, job)
    filling = Filling(ground, line)
    await filling.to(limits.HELD_JOBS - FEWEST)
    held = ground.effect(held=True)
    running = ground.job(held, AT_MOST_ONCE)
    ground.send(line, running)
    await ground.called(held)
    await filling.to(limits.HELD_JOBS)
    jobs = {job.job_id: job for job in done} | filling.jobs
    return Load(line, running, held, jobs, filling.answers.ended, effects, filling.effect)
