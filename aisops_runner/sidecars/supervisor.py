"""Keeps one plugin's sidecar running while it is wanted, and lets calls through to it.

The rules (when to start, wait or give up) are in `restart`; here they meet the process, the clock and the callers.
Every call ends in one `Outcome`, whatever happens to the process meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import structlog

from aisops_runner.adapters.calls import Call, CallError, Outcome
from aisops_runner.clock import Clock
from aisops_runner.errors import RunnerError, SidecarStartFailed
from aisops_runner.sidecars.admission import Admission
from aisops_runner.sidecars.client import GONE_CODES, SidecarClient
from aisops_runner.sidecars.process import SidecarProcess, SidecarSpec, start_sidecar
from aisops_runner.sidecars.restart import Lifecycle, State
from aisops_runner.sidecars.settings import SupervisorSettings

NOTICE_S = 0.2
IDLE_DRAIN_S = 8.0  # with no call in flight only the plugin's own on_stop takes time

_log = structlog.get_logger("aisops_runner.sidecars")


@dataclass(frozen=True, slots=True)
class _Running:
    process: SidecarProcess
    client: SidecarClient


class Supervisor:
    """One plugin's sidecar.

    Args:
        spec: What every start has in common.
        settings: How it is kept.
        clock: Time.
        draw: Random numbers in [0, 1) for back-off.
        on_state: Told every change of state, with its reason.
    """

    def __init__(
        self,
        spec: SidecarSpec,
        settings: SupervisorSettings,
        *,
        clock: Clock,
        draw: Callable[[], float],
        on_state: Callable[[str, State, str], None],
    ) -> None:
        self.name = spec.manifest.name
        self._version = spec.manifest.version
        self._spec = spec
        self._settings = settings
        self._clock = clock
        self._draw = draw
        self._on_state = on_state
        self._life = Lifecycle(settings.restart)
        self._running: _Running | None = None
        self._change: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._errands: set[asyncio.Task[None]] = set()
        self._admission = Admission(self.name, slots=settings.max_concurrency, queue_limit=settings.queue_limit)
        self._jobs: dict[str, int] = {}
        self._last_used = clock.monotonic()
        self._closed = False

    # --- questions ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._life.state

    @property
    def reason(self) -> str:
        """Why, when that needs saying."""
        return self._life.reason

    @property
    def pid(self) -> int:
        """Process id of the running sidecar; 0 when none runs."""
        return self._running.process.pid if self._running else 0

    @property
    def ready(self) -> bool:
        """Whether a call would leave at once."""
        return self._running is not None

    @property
    def restarts(self) -> int:
        """How often it ended or failed to start on its own account."""
        return self._life.restarts

    @property
    def in_flight(self) -> int:
        """Calls being made now."""
        return sum(self._jobs.values())

    # --- work ---------------------------------------------------------------------------------------------------------

    async def call(self, call: Call) -> Outcome:
        """Make one call, starting the sidecar when it does not run.

        Returns:
            What came of it. Codes made here: `plugin_busy`, `draining`, `sidecar_unavailable`, `plugin_quarantined`,
            `incompatible`, `timeout`: nothing left the Runner with any of them.
        """
        deadline = self._clock.monotonic() + call.timeout_s
        if self._closed:
            return self._outcome(self._stopping())
        refusal = await self._admission.enter(call.timeout_s)
        if refusal is not None:
            return self._outcome(refusal)
        self._jobs[call.job_id] = self._jobs.get(call.job_id, 0) + 1
        try:
            running = await self._ensure(deadline)
            if isinstance(running, CallError):
                return self._outcome(running)
            try:
                result = await running.client.invoke(call, max(0.001, deadline - self._clock.monotonic()))
            except asyncio.CancelledError:
                self._errand(running.client.cancel(call.job_id))
                raise
            if isinstance(result, CallError) and result.code in GONE_CODES:
                await running.process.wait_exit(NOTICE_S)  # so that the next call does not meet the same dead process
            return self._outcome(result, running.process.pid)
        finally:
            self._jobs[call.job_id] -= 1
            if not self._jobs[call.job_id]:
                del self._jobs[call.job_id]
            self._last_used = self._clock.monotonic()
            self._admission.leave()

    def cancel(self, job_id: str) -> None:
        """Ask this job's calls to stop, if there are any; returns at once."""
        if job_id in self._jobs and self._running is not None:
            self._errand(self._running.client.cancel(job_id))

    async def start(self) -> None:
        """Bring it up now (prewarm); a failure shows in `state`, not here."""
        await self._ensure(self._clock.monotonic() + self._spec.manifest.startup_timeout_s)

    async def stop(self) -> None:
        """Drain and end it for good: calls in flight may finish within `drain_s`, new ones are refused."""
        self._closed = True
        self._disarm()
        await _settle(self._change)
        await _settle(self._watcher)
        if self._running is not None:
            await self._end(self._running, "the Runner stops")
        elif self._life.state in (State.INSTALLED, State.BACKOFF, State.QUARANTINED):
            self._life.stopped(self._clock.monotonic())
        await asyncio.gather(*self._errands, return_exceptions=True)  # each is bounded by its own time limit

    async def _ensure(self, deadline: float) -> _Running | CallError:
        """The running sidecar, started when it may be; or why there is none."""
        while True:
            if self._running is not None:
                return self._running
            now = self._clock.monotonic()
            if self._closed:
                return self._stopping()
            if self._change is None:
                if not self._life.may_start(now):
                    return self._unavailable(now)
                self._begin_start()
            elif now >= deadline:
                return CallError("timeout", f"{self.name} did not get ready in time", retryable=True)
            if self._change is not None:
                await asyncio.wait((self._change,), timeout=max(0.0, deadline - now))

    def _stopping(self) -> CallError:
        return CallError("draining", f"{self.name} is stopping", retryable=True)

    def _unavailable(self, now: float) -> CallError:
        if self._life.state is State.INCOMPATIBLE:
            return CallError("incompatible", f"{self.name} {self._life.reason}")
        quarantined = self._life.state is State.QUARANTINED
        return CallError(
            "plugin_quarantined" if quarantined else "sidecar_unavailable",
            f"{self.name} is in {'quarantine' if quarantined else 'back-off'}: it {self._life.reason}",
            retryable=True,
            retry_after_s=max(0.05, self._life.wait_s(now)),
        )

    def _outcome(self, result: bytes | CallError, pid: int = 0) -> Outcome:
        if isinstance(result, CallError):
            return Outcome(False, error=result, plugin=self.name, plugin_version=self._version, sidecar_pid=pid)
        return Outcome(True, output=result, plugin=self.name, plugin_version=self._version, sidecar_pid=pid)

    # --- life ---------------------------------------------------------------------------------------------------------

    def _begin_start(self) -> None:
        self._disarm()
        self._life.starting(self._clock.monotonic())
        self._tell()
        self._change = asyncio.create_task(self._start(), name=f"start-{self.name}")
        self._change.add_done_callback(self._changed)

    def _changed(self, task: asyncio.Task[None]) -> None:
        self._change = None
        if not task.cancelled() and (error := task.exception()):
            _log.error("supervisor failed", plugin=self.name, exc_info=error)

    async def _start(self) -> None:
        try:
            process = await start_sidecar(self._spec, self._clock)
        except RunnerError as error:
            if isinstance(error, SidecarStartFailed) and error.code == "incompatible":
                self._life.incompatible(error.message)
                self._tell()
            else:
                self._fail(error.message)
            return
        except asyncio.CancelledError:
            self._life.draining()
            self._life.stopped(self._clock.monotonic())
            raise
        self._running = _Running(process, SidecarClient(process.port, process.token, self._clock))
        self._last_used = self._clock.monotonic()
        self._life.ready(self._clock.monotonic())
        self._tell()
        self._watcher = asyncio.create_task(self._watch(self._running), name=f"watch-{self.name}")

    async def _watch(self, running: _Running) -> None:
        """Look after one run until it ends: exit, health, readiness, idleness."""
        misses = 0
        pause = self._settings.degraded_poll_s
        while True:
            await asyncio.wait((running.process.exited,), timeout=self._pause_s(pause))
            if running.process.exited.done():
                self._crashed(running, running.process.exit_reason())
                return
            if self._idle_for() >= self._settings.idle_stop_s and not self._settings.prewarm:
                self._change = asyncio.create_task(self._end(running, "idle"), name=f"idle-{self.name}")
                self._change.add_done_callback(self._changed)
                return
            running.process.tell_dropped()
            misses = 0 if await running.client.healthy() else misses + 1
            if misses >= self._settings.liveness_misses:
                self._crashed(running, f"did not answer {misses} health checks in a row")
                return
            problem = await running.client.readiness() if not misses else self._life.reason
            self._note(running, self._spec.redact(problem))
            pause = min(pause * 2, self._settings.liveness_s)

    def _note(self, running: _Running, problem: str) -> None:
        if self._running is running and problem != self._life.reason:
            self._life.ready(self._clock.monotonic(), problem)
            self._tell()

    def _pause_s(self, pause: float) -> float:
        """Until the next look: sooner after a start and when idleness is about to be reached."""
        if self._settings.prewarm:
            return min(pause, self._settings.liveness_s)
        return min(pause, self._settings.liveness_s, max(0.01, self._settings.idle_stop_s - self._idle_for()))

    def _idle_for(self) -> float:
        return 0.0 if self._jobs or self._admission.waiting else self._clock.monotonic() - self._last_used

    def _crashed(self, running: _Running, reason: str) -> None:
        self._running = None
        self._fail(reason)
        self._errand(_bury(running))

    def _fail(self, reason: str) -> None:
        now = self._clock.monotonic()
        self._life.failed(now, self._draw(), reason)
        self._tell()
        if self._closed or (self._life.state is State.QUARANTINED and not self._settings.prewarm):
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._life.wait_s(now) + 0.001, self._retry)

    def _retry(self) -> None:
        self._timer = None
        idle = self._running is None and self._change is None and not self._closed
        if idle and self._life.may_start(self._clock.monotonic()):
            self._begin_start()

    async def _end(self, running: _Running, reason: str) -> None:
        self._running = None
        self._life.draining()
        self._tell()
        try:
            drain_s = self._settings.drain_s if self._jobs else min(IDLE_DRAIN_S, self._settings.drain_s)
            await running.process.stop(running.client.shutdown, drain_s=drain_s)
        finally:
            await running.client.close()
            self._life.stopped(self._clock.monotonic(), reason)
            self._tell()

    def _tell(self) -> None:
        self._on_state(self.name, self._life.state, self._life.reason)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _errand(self, work: Coroutine[None, None, None]) -> None:
        """Do something on the side, without anybody waiting for it."""
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)


async def _bury(running: _Running) -> None:
    """Clear away an ended or hopeless run. Closing the client ends its calls in flight, each once."""
    await running.client.close()
    await running.process.kill()


async def _settle(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end."""
    if task is not None and not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
