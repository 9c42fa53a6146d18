"""One plugin's process through all its runs: started when wanted, watched, started again after a failure, ended.

The rules (when to start, wait or give up) are in `restart`; here they meet the process and the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial

import structlog

from aisops_runner.adapters.calls import CallError
from aisops_runner.clock import Clock
from aisops_runner.errors import RunnerError, SidecarStartFailed
from aisops_runner.sidecars.admission import Admission
from aisops_runner.sidecars.launch import launch
from aisops_runner.sidecars.process import SidecarSpec
from aisops_runner.sidecars.restart import Lifecycle, State
from aisops_runner.sidecars.run import Run
from aisops_runner.sidecars.settings import SupervisorSettings
from aisops_runner.sidecars.watch import watch

IDLE_DRAIN_S = 8.0  # with no call in flight only the plugin's own on_stop takes time

_log = structlog.get_logger("aisops_runner.sidecars")


class Sidecar:
    """The process of one plugin.

    Args:
        spec: What every start has in common.
        settings: How it is kept.
        admission: Knows whether it is of use now.
        clock: Time.
        draw: Random numbers in [0, 1) for back-off.
        on_state: Told every change of state, with its reason.

    Attributes:
        run: The run that takes calls; None while there is none.
        closed: It was stopped for good, or is being stopped.
    """

    def __init__(
        self,
        spec: SidecarSpec,
        settings: SupervisorSettings,
        admission: Admission,
        *,
        clock: Clock,
        draw: Callable[[], float],
        on_state: Callable[[str, State, str], None],
    ) -> None:
        self.run: Run | None = None
        self.closed = False
        self._name = spec.manifest.name
        self._spec = spec
        self._settings = settings
        self._admission = admission
        self._clock = clock
        self._draw = draw
        self._on_state = on_state
        self._life = Lifecycle(settings.restart)
        self._change: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._errands: set[asyncio.Task[None]] = set()
        self._last_used = clock.monotonic()

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._life.state

    @property
    def reason(self) -> str:
        """Why, when that needs saying."""
        return self._life.reason

    @property
    def restarts(self) -> int:
        """How often it ended or failed to start on its own account."""
        return self._life.restarts

    async def obtain(self, deadline: float) -> Run | CallError:
        """The run that takes calls, started when it may be; or why there is none.

        Args:
            deadline: Monotonic time, in seconds, until when a start is waited for.
        """
        while True:
            if self.run is not None:
                return self.run
            now = self._clock.monotonic()
            if self.closed:
                return self.stopping()
            if self._change is None:
                if not self._life.may_start(now):
                    return self._unavailable(now)
                self._begin_start()
            elif now >= deadline:
                return CallError("timeout", f"{self._name} did not get ready in time", retryable=True)
            if self._change is not None:
                await asyncio.wait((self._change,), timeout=max(0.0, deadline - now))

    def used(self) -> None:
        """A call has ended: idleness begins now."""
        self._last_used = self._clock.monotonic()

    def errand(self, work: Coroutine[None, None, None]) -> None:
        """Do something on the side, without anybody waiting for it but `stop`."""
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def stop(self) -> None:
        """Drain and end it for good: calls in flight may finish within `drain_s`, new ones are refused."""
        self.closed = True
        self._disarm()
        await _settle(self._change)
        await _settle(self._watcher)
        if self.run is not None:
            await self._end(self.run, "the Runner stops")
        elif self._life.state in (State.INSTALLED, State.BACKOFF, State.QUARANTINED):
            self._life.stopped(self._clock.monotonic())
        await asyncio.gather(*self._errands, return_exceptions=True)  # each is bounded by its own time limit

    def stopping(self) -> CallError:
        """What a call gets once it is stopped for good."""
        return CallError("draining", f"{self._name} is stopping", retryable=True)

    def _unavailable(self, now: float) -> CallError:
        if self._life.state is State.INCOMPATIBLE:
            return CallError("incompatible", f"{self._name} {self._life.reason}")
        quarantined = self._life.state is State.QUARANTINED
        return CallError(
            "plugin_quarantined" if quarantined else "sidecar_unavailable",
            f"{self._name} is in {'quarantine' if quarantined else 'back-off'}: it {self._life.reason}",
            retryable=True,
            retry_after_s=max(0.05, self._life.wait_s(now)),
        )

    # --- start --------------------------------------------------------------------------------------------------------

    def _begin_start(self) -> None:
        self._disarm()
        self._life.starting(self._clock.monotonic())
        self._tell()
        self._make_change(self._start(), "start")

    def _make_change(self, work: Coroutine[None, None, None], kind: str) -> None:
        self._change = asyncio.create_task(work, name=f"{kind}-{self._name}")
        self._change.add_done_callback(self._changed)

    def _changed(self, task: asyncio.Task[None]) -> None:
        self._change = None
        if not task.cancelled() and (error := task.exception()):
            _log.error("supervisor failed", plugin=self._name, exc_info=error)

    async def _start(self) -> None:
        try:
            run = await launch(self._spec, self._clock)
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
        self.run = run
        self.used()
        self._life.ready(self._clock.monotonic())
        self._tell()
        self._watcher = asyncio.create_task(self._look_after(self.run), name=f"watch-{self._name}")

    # --- run and end --------------------------------------------------------------------------------------------------

    async def _look_after(self, run: Run) -> None:
        failure = await watch(run, self._settings, idle_for=self._idle_for, note=lambda text: self._note(run, text))
        if failure is None:
            self._make_change(self._end(run, "idle"), "idle")
            return
        self.run = None
        self._fail(failure)
        self.errand(run.bury())

    def _note(self, run: Run, problem: str) -> None:
        problem = self._spec.redact(problem)
        if self.run is run and problem != self._life.reason:
            self._life.ready(self._clock.monotonic(), problem)
            self._tell()

    def _idle_for(self) -> float:
        return 0.0 if self._admission.busy else self._clock.monotonic() - self._last_used

    def _fail(self, reason: str) -> None:
        now = self._clock.monotonic()
        self._life.failed(now, self._draw(), reason)
        self._tell()
        if self.closed or (self._life.state is State.QUARANTINED and not self._settings.prewarm):
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._life.wait_s(now) + 0.001, self._retry)

    def _retry(self) -> None:
        self._timer = None
        idle = self.run is None and self._change is None and not self.closed
        if idle and self._life.may_start(self._clock.monotonic()):
            self._begin_start()

    async def _end(self, run: Run, reason: str) -> None:
        self.run = None
        self._life.draining()
        self._tell()
        try:
            drain_s = self._settings.drain_s if self._admission.in_flight else min(IDLE_DRAIN_S, self._settings.drain_s)
            await run.process.stop(partial(run.client.shutdown, drain_s), drain_s=drain_s)
        finally:
            await run.client.close()
            self._life.stopped(self._clock.monotonic(), reason)
            self._tell()

    def _tell(self) -> None:
        self._on_state(self._name, self._life.state, self._life.reason)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _settle(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end."""
    if task is not None and not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
