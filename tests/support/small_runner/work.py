"""What the small runner does with jobs: journal, call, result."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import aiohttp

from aisops_protocol import limits
from aisops_protocol.codec import decode_runner_body, encode_runner_body
from aisops_protocol.messages import (
    CancelPhase,
    CancelState,
    EffectClass,
    Job,
    JobAccept,
    JobCancel,
    JobError,
    JobPhase,
    JobReject,
    JobResult,
    RejectReason,
    ResultChunk,
    ResultStatus,
    RunnerBody,
)
from tests.support.small_runner.faults import Fault
from tests.support.small_runner.store import Known, Store, taken

OFFERED = {
    "conformance.idempotent": EffectClass.IDEMPOTENT,
    "conformance.at_most_once": EffectClass.AT_MOST_ONCE,
}
SLOTS = 4
REMEMBER_S = 600.0
TRY_AGAIN_S = 0.2


class Work:
    """Every job held; no more than `most` at once, unless that is 0."""

    def __init__(self, store: Store, fault: Fault, moved: Callable[[], None], most: int) -> None:
        self._store, self._fault, self._moved, self._most = store, fault, moved, most
        self._queue: deque[Known] = deque()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._live: dict[str, Known] = {}
        self._early: dict[str, float] = {}
        self._stopped: set[str] = set()

    def restore(self) -> None:
        for job in self._store.unfinished():
            careful = job.effect is not EffectClass.IDEMPOTENT and self._fault is not Fault.NO_UNCERTAIN
            if job.phase is JobPhase.STARTED and careful:
                self._end(job, ResultStatus.UNCERTAIN, JobError("interrupted", "nobody knows", ambiguous=True))
            else:
                self._wait(job)

    def leases(self) -> tuple[bytes, ...]:
        return tuple(job.lease for job in self._live.values())

    def unfinished(self) -> tuple[str, ...]:
        return tuple(self._live)

    def free(self) -> int:
        return max(0, SLOTS - len(self._live))

    # --- what Core says -----------------------------------------------------------------------------------------------

    def received(self, job: Job) -> None:
        known = self._live.get(job.job_id) or self._store.job(job.job_id)
        if known is not None and self._fault is not Fault.DUPLICATE_RUNS:
            self._again(known, job)
            return
        refusal = self._refusal(job)
        if refusal is not None:
            self._put(JobReject(job.job_id, job.lease_id, job.attempt, refusal))
            return
        made = taken(job)
        if self._fault is not Fault.EFFECT_FIRST:
            self._put(JobAccept(job.job_id, job.lease_id, job.attempt), job=made)
        if self._early.pop(job.job_id, 0.0) > time.monotonic():
            self._end(made, ResultStatus.CANCELLED, JobError("cancelled", "before any call"))
            return
        self._wait(made)
        if job.start_by_ms:
            asyncio.get_running_loop().call_later(job.start_by_ms / 1000, self._too_late, made)

    def cancel(self, cancel: JobCancel) -> None:
        job = self._live.get(cancel.job_id)
        known = self._store.job(cancel.job_id)
        if job is None and known is not None and known.phase is JobPhase.DONE:
            phase = CancelPhase.TOO_LATE
        elif job is None:
            phase = CancelPhase.REMEMBERED
            if self._fault is not Fault.CANCEL_FORGOTTEN:
                self._early[cancel.job_id] = time.monotonic() + REMEMBER_S
        elif job.job_id in self._running:
            phase = CancelPhase.REQUESTED
            self._stopped.add(job.job_id)
            self._running[job.job_id].cancel()
        else:
            phase = CancelPhase.STOPPED
            self._queue.remove(job)
            self._end(job, ResultStatus.CANCELLED, JobError("cancelled", "before any call"))
        self._put(CancelState(cancel.job_id, cancel.lease_id, phase))

    def resend(self, job_id: str) -> None:
        known = self._store.job(job_id)
        if known is not None and known.phase is JobPhase.DONE and self._fault is not Fault.RESEND_IGNORED:
            self._put(*self._bodies(known), job=known)

    def resend_all(self) -> None:
        for known in self._store.ended():
            self._put(*self._bodies(known), job=known)

    def _again(self, known: Known, job: Job) -> None:
        """A job that is known already: its newest lease counts."""
        if self._fault is not Fault.OLD_LEASE:
            known.lease, known.attempt = job.lease_id, job.attempt
        if known.phase is JobPhase.DONE:
            self._put(*self._bodies(known), job=known)
        else:
            self._put(JobAccept(known.job_id, known.lease, known.attempt), job=known)

    def _refusal(self, job: Job) -> RejectReason | None:
        if self._most and len(self._store.held()[0]) >= self._most:
            return RejectReason.BUSY
        if job.capability not in OFFERED:
            return RejectReason.UNKNOWN_CAPABILITY
        return RejectReason.SCHEMA if hashlib.sha256(job.input).digest() != job.input_sha256 else None

    # --- calls --------------------------------------------------------------------------------------------------------

    def _wait(self, job: Known) -> None:
        self._live[job.job_id] = job
        self._queue.append(job)
        self._fill()

    def _fill(self) -> None:
        while self._queue and len(self._running) < SLOTS:
            job = self._queue.popleft()
            self._running[job.job_id] = asyncio.create_task(self._run(job))

    def _too_late(self, job: Known) -> None:
        if job in self._queue:
            self._queue.remove(job)
            self._end(job, ResultStatus.TIMED_OUT, JobError("start_expired", "no slot in time"))

    async def _run(self, job: Known) -> None:
        job.phase = JobPhase.STARTED
        if self._fault is not Fault.EFFECT_FIRST:
            self._store.keep(job)
        try:
            async with asyncio.timeout(job.timeout_ms / 1000):
                status, error, output = await self._call(job)
        except TimeoutError:
            careful = job.effect is not EffectClass.IDEMPOTENT
            status = ResultStatus.UNCERTAIN if careful else ResultStatus.TIMED_OUT
            error, output = JobError("timeout", "the call did not end in time", ambiguous=careful), b""
        except asyncio.CancelledError:
            if job.job_id not in self._stopped:
                raise
            careful = job.effect is not EffectClass.IDEMPOTENT
            status, output = ResultStatus.CANCELLED, b""
            error = JobError("cancelled", "while it ran", ambiguous=careful)
        if self._fault is Fault.EFFECT_FIRST:
            self._put(JobAccept(job.job_id, job.lease, job.attempt), job=job)
        self._running.pop(job.job_id, None)
        self._end(job, status, error, output)
        self._fill()

    async def _call(self, job: Known) -> tuple[ResultStatus, JobError | None, bytes]:
        url = json.loads(job.input)["url"]
        key = job.effect_key
        if self._fault is Fault.KEY_PER_ATTEMPT:
            key = f"{key}-{time.monotonic_ns()}"
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.post(url, data=job.input, headers={"Idempotency-Key": key}) as answer:
                    body = await answer.read()
                if answer.status == 200:
                    return ResultStatus.SUCCEEDED, None, body
                await asyncio.sleep(TRY_AGAIN_S)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self, job: Known, status: ResultStatus, error: JobError | None, output: bytes = b"") -> None:
        truncated = len(output) > limits.RESULT_CHUNK_BYTES * limits.RESULT_CHUNKS
        job.output = b'{"truncated":true}' if truncated else output
        inline = job.output if len(job.output) <= limits.RESULT_INLINE_BYTES else b""
        made = JobResult(job.job_id, job.lease, job.attempt, status, inline, error, truncated=truncated)
        job.phase, job.result = JobPhase.DONE, encode_runner_body(made)
        self._live.pop(job.job_id, None)
        self._put(*self._bodies(job), job=job)

    def _bodies(self, job: Known) -> list[RunnerBody]:
        """The stored result as messages, under the newest lease."""
        stored = decode_runner_body(job.result)
        assert isinstance(stored, JobResult)
        lease, attempt = (job.lease, job.attempt)
        whole = JobResult(
            job.job_id, lease, attempt, stored.status, stored.output, stored.error, truncated=stored.truncated
        )
        if stored.output or not job.output:
            return [whole]
        size = limits.RESULT_CHUNK_BYTES
        parts = [job.output[at : at + size] for at in range(0, len(job.output), size)]
        digest = b"" if self._fault is Fault.HASH_MISSING else hashlib.sha256(job.output).digest()
        count = len(parts)
        pieces = [ResultChunk(job.job_id, lease, at, count, part) for at, part in enumerate(parts)]
        return [*pieces[:-1], replace(pieces[-1], sha256=digest), whole]

    def _put(self, *bodies: RunnerBody, job: Known | None = None) -> None:
        self._store.put(*bodies, job=job)
        self._moved()
