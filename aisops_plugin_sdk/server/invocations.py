"""Runs capabilities: concurrency limit, deadline, cancel, and one answer for repetitions of a call."""

import asyncio
import hashlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError

from aisops_plugin_sdk.calls import time_left_s
from aisops_plugin_sdk.capability import Capability
from aisops_plugin_sdk.context import CallInfo, Context
from aisops_plugin_sdk.errors import Ambiguous, PluginError
from aisops_plugin_sdk.logs import LogRecord, LogSink, current_job
from aisops_plugin_sdk.server.answers import RESULT_LIMIT_BYTES, CallOutcome, Refusal
from aisops_plugin_sdk.server.deadlines import Deadlines
from aisops_plugin_sdk.server.lifecycle import Lifecycle
from aisops_plugin_sdk.server.replay import Key, ReplayMemory

CANCEL_GRACE_S = 0.2
BUSY_RETRY_S = 0.1
LONGEST_CALL_S = 86_400.0
Ended = Callable[[CallOutcome], None]


@dataclass(eq=False, slots=True)
class Ending:
    """How one call ends: `outcome` is set once, and whoever waits for it is told."""

    outcome: CallOutcome | None = None
    waiting: list[Ended] = field(default_factory=list)

    def tell(self, ended: Ended) -> None:
        """Have `ended` told: now when the call has ended, else when it does."""
        if self.outcome is None:
            self.waiting.append(ended)
        else:
            ended(self.outcome)

    def settle(self, outcome: CallOutcome) -> None:
        """Say how the call ended."""
        self.outcome = outcome
        waiting, self.waiting = self.waiting, []
        for ended in waiting:
            ended(outcome)


@dataclass(eq=False, slots=True)
class Running:
    """One call in flight. `reason` is why it was given up, if it was; `late` its number among the deadlines."""

    capability: Capability
    context: Context[Any]
    ending: Ending
    key: Key | None
    entered: bool = False
    reason: PluginError | None = None
    work: "asyncio.Task[bytes] | None" = None
    grace: asyncio.TimerHandle | None = None
    late: int = 0


class Invocations:
    """The calls of one sidecar.

    Args:
        lifecycle: gives contexts and says whether calls can be taken.
        sink: where failures of plugin code are logged, with their traceback.
        clock: unix seconds, to which deadlines refer; when a call begins it says how long that is from now.
    """

    def __init__(self, lifecycle: Lifecycle, *, sink: LogSink, clock: Callable[[], float]) -> None:
        self._lifecycle = lifecycle
        self._sink = sink
        self._clock = clock
        self._limit = lifecycle.plugin.max_concurrency
        self._running: set[Running] = set()
        self._replays: ReplayMemory[Ending] = ReplayMemory()
        self._deadlines: Deadlines[Running] = Deadlines(self._too_late)

    @property
    def busy(self) -> int:
        """How many slots are taken; a plain function that was given up keeps its slot until it returns."""
        return len(self._running) + self._lifecycle.authored.abandoned

    async def invoke(self, capability: Capability, given: BaseModel, call: CallInfo, body: bytes) -> CallOutcome:
        """Run a capability and wait for its end; as `start` otherwise."""
        waiter: asyncio.Future[CallOutcome] = asyncio.get_running_loop().create_future()
        self.start(capability, given, call, body, partial(_resolve, waiter))
        return await waiter

    def start(self, capability: Capability, given: BaseModel, call: CallInfo, body: bytes, ended: Ended) -> None:
        """Run a capability, or give the answer of the call that this one repeats; returns at once.

        A caller that goes away does not stop the call. `body` is what was received: it tells a repetition from a reuse.

        Args:
            capability: what to run.
            given: its input.
            call: the facts of the call.
            body: the input as received.
            ended: told how the call ended, perhaps before this returns.

        Raises:
            Conflict: the Idempotency-Key was used with another body.
            Refusal: all slots are taken (429), the deadline is over (504), or the plugin is stopping (503).
        """
        key: Key | None = None
        fingerprint = b""
        if call.idempotency_key:
            key = (call.tenant_id, capability.spec.name, call.idempotency_key)
            fingerprint = hashlib.sha256(body).digest()
            earlier = self._replays.find(key, fingerprint, time.monotonic())
            if earlier is not None:
                earlier.tell(ended)
                return
        self._lifecycle.require_open()
        if self.busy >= self._limit:
            text = f"{self._limit} calls are running, the most this plugin takes"
            raise Refusal(429, "busy", text, retryable=True, retry_after_s=BUSY_RETRY_S)
        running = self._begin(capability, given, call, key)
        running.ending.tell(ended)
        if key is not None:
            self._replays.begin(key, fingerprint, running.ending)

    def cancel(self, job_id: str) -> int:
        """Give up the calls of a job. Returns how many there were."""
        found = [running for running in self._running if running.context.job_id == job_id]
        for running in found:
            self._give_up(running, Refusal(409, "cancelled", "the call was cancelled"))
        return len(found)

    async def drain(self, limit_s: float) -> None:
        """Wait for the running calls; those that take longer are given up as `stopped`."""
        await self._wait(limit_s)
        for running in list(self._running):
            self._give_up(running, Refusal(503, "stopped", "the plugin was stopped while the call ran"))
        await self._wait(None)

    async def _wait(self, limit_s: float | None) -> None:
        """Wait until every running call has its answer, at most so many seconds."""
        loop = asyncio.get_running_loop()
        waiters: list[asyncio.Future[CallOutcome]] = []
        for running in self._running:
            waiters.append(loop.create_future())
            running.ending.tell(partial(_resolve, waiters[-1]))
        if waiters:
            await asyncio.wait(waiters, timeout=limit_s)

    def _begin(self, capability: Capability, given: BaseModel, call: CallInfo, key: Key | None) -> Running:
        """Start a call and watch its deadline, for which the wall clock is looked at here and never again."""
        loop = asyncio.get_running_loop()
        now = self._clock()
        deadline = (
            now + capability.spec.timeout_s if call.deadline is None else min(call.deadline, now + LONGEST_CALL_S)
        )
        allowed_s = deadline - now
        if allowed_s <= 0:
            raise Refusal(504, "deadline_exceeded", "the deadline had passed before the call started")
        if deadline != call.deadline:
            call = replace(call, deadline=deadline)
        running = Running(capability, self._lifecycle.context(call, allowed_s), Ending(), key)
        self._running.add(running)
        running.work = loop.create_task(self._work(running, given))
        running.work.add_done_callback(partial(self._ended, running))
        running.late = self._deadlines.add(loop.time() + allowed_s, running)
        return running

    async def _work(self, running: Running, given: BaseModel) -> bytes:
        """Run the author's function and write its result as JSON."""
        current_job.set(running.context.job_id)
        time_left_s.set(running.context.remaining_s)
        if not self._lifecycle.serving:
            await self._lifecycle.started()
        running.entered = True
        capability = running.capability
        result = await self._lifecycle.authored.call(capability.handler, running.context, given)
        try:
            written = capability.write(result)
        except (ValidationError, ValueError, TypeError) as error:
            text = f"{capability.spec.name} returned {type(result).__name__}, not {capability.output_model.__name__}"
            self._sink(LogRecord("error", f"{text}: {type(error).__name__}", running.context.job_id))
            raise Ambiguous(text, code="invalid_result") from None
        if len(written) > RESULT_LIMIT_BYTES:
            text = f"the result of {len(written)} bytes is over the limit of {RESULT_LIMIT_BYTES}"
            raise Ambiguous(text, code="result_too_large")
        return written

    def _too_late(self, running: Running) -> None:
        self._give_up(running, Refusal(504, "timeout", "the deadline passed while the call ran"))

    def _give_up(self, running: Running, reason: PluginError) -> None:
        """Ask a call to end; when it does not within its grace, answer without it."""
        if running.ending.outcome is not None or running.reason is not None:
            return
        # Once the author's function was entered nobody knows what left; before that nothing did.
        reason.ambiguous = running.entered
        running.reason = reason
        running.context.cancel()
        if running.work is not None:
            running.work.cancel()
        loop = asyncio.get_running_loop()
        running.grace = loop.call_later(CANCEL_GRACE_S, self._settle, running, CallOutcome(error=reason))

    def _ended(self, running: Running, work: "asyncio.Task[bytes]") -> None:
        """Take what the author's function left behind. A call that finished although it was given up wins."""
        running.work = None
        if work.cancelled():
            error = running.reason or Ambiguous("the call was cancelled from inside", code="cancelled")
            self._settle(running, CallOutcome(error=error))
            return
        failure = work.exception()
        if failure is None:
            self._settle(running, CallOutcome(result=work.result()))
        elif isinstance(failure, PluginError):
            self._settle(running, CallOutcome(error=failure))
        else:
            self._settle(running, CallOutcome(error=running.reason or self._unexpected(running, failure)))

    def _unexpected(self, running: Running, failure: BaseException) -> PluginError:
        """Answer an exception the author did not classify: its class name, and that nobody knows what left."""
        text = "".join(traceback.format_exception(failure))
        self._sink(LogRecord("error", text, running.context.job_id))
        return PluginError(type(failure).__name__, code="runtime_error", ambiguous=running.entered)

    def _settle(self, running: Running, outcome: CallOutcome) -> None:
        """Give the answer, once, and remember it where a repetition must not run the function again."""
        self._deadlines.discard(running.late)
        if running.grace is not None:
            running.grace.cancel()
        if running.work is None:
            self._running.discard(running)
        if running.ending.outcome is not None:
            return
        if running.key is not None:
            at_most_once = running.capability.spec.effect_class == "at_most_once"
            keep = outcome.error is None or (outcome.error.ambiguous and at_most_once)
            size = len(outcome.result) + 512
            self._replays.finish(running.key, size=size, keep=keep, now=time.monotonic())
        running.ending.settle(outcome)


def _resolve(waiter: "asyncio.Future[CallOutcome]", outcome: CallOutcome) -> None:
    if not waiter.done():
        waiter.set_result(outcome)
