"""Lets calls through to one plugin's sidecar, which runs while it is wanted.

The process and its runs are the `Sidecar`'s; here the callers meet it. Calls that come together go together, in one
batch where the sidecar takes batches. Every call ends in one `Outcome`, whatever happens to the process meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from aisops_plugin_sdk import batch
from aisops_runner.adapters.calls import Call, CallError, Ended, Outcome
from aisops_runner.clock import Clock
from aisops_runner.sidecars.admission import Admission, Place
from aisops_runner.sidecars.client import GONE_CODES
from aisops_runner.sidecars.grouping import groups
from aisops_runner.sidecars.process import SidecarSpec
from aisops_runner.sidecars.replies import NO_BATCHES, Answered
from aisops_runner.sidecars.restart import State
from aisops_runner.sidecars.run import Run
from aisops_runner.sidecars.settings import SupervisorSettings
from aisops_runner.sidecars.sidecar import Sidecar

NOTICE_S = 0.2

_log = structlog.get_logger("aisops_runner.sidecars")


class Supervisor:
    """One plugin's sidecar, as its callers and the fleet see it.

    Args:
        spec: What every start has in common.
        settings: How it is kept.
        clock: Time.
        draw: Random numbers in [0, 1) for back-off.
        on_state: Told every change of state, with its reason.

    Attributes:
        prewarm: It wants to be started with the Runner.
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
        self.prewarm = settings.prewarm
        self._version = spec.manifest.version
        self._startup_timeout_s = spec.manifest.startup_timeout_s
        self._takes_batches = settings.batch and batch.FEATURE in spec.manifest.features
        self._clock = clock
        self._admission = Admission(self.name, slots=settings.max_concurrency, queue_limit=settings.queue_limit)
        self._sidecar = Sidecar(spec, settings, self._admission, clock=clock, draw=draw, on_state=on_state)
        self._bringing_up: asyncio.Task[None] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._late_at = 0.0

    # --- questions ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._sidecar.state

    @property
    def reason(self) -> str:
        """Why, when that needs saying."""
        return self._sidecar.reason

    @property
    def pid(self) -> int:
        """Process id of the running sidecar; 0 when none runs."""
        return self._sidecar.run.process.pid if self._sidecar.run else 0

    @property
    def ready(self) -> bool:
        """Whether a call would leave at once."""
        return self._sidecar.run is not None

    @property
    def restarts(self) -> int:
        """How often it ended or failed to start on its own account."""
        return self._sidecar.restarts

    @property
    def in_flight(self) -> int:
        """Calls being made now."""
        return self._admission.in_flight

    # --- work ---------------------------------------------------------------------------------------------------------

    async def call(self, call: Call) -> Outcome:
        """Make one call and wait for its end; as `begin` otherwise. Cancelling cuts it off."""
        waiter: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self.begin((call,), partial(_resolve, waiter))
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            self.cut_off(call.job_id)
            raise
        return outcome or self._outcome(CallError("cancelled", "the call was cut off", ambiguous=True))

    def begin(self, calls: Sequence[Call], ended: Ended) -> None:
        """Make calls, starting the sidecar when it does not run; returns at once.

        Args:
            calls: What to run.
            ended: Told what came of them, as they end; later, never from within this call. Codes made here:
                `plugin_busy`, `draining`, `sidecar_unavailable`, `plugin_quarantined`, `incompatible`, `timeout`:
                nothing left the Runner with any of them.
        """
        now = self._clock.monotonic()
        refused: list[tuple[str, Outcome | None]] = []
        for call in calls:
            refusal = self._sidecar.stopping() if self._sidecar.closed else None
            refusal = refusal or self._admission.enter(call, now + call.timeout_s, ended)
            if refusal is not None:
                refused.append((call.job_id, self._outcome(refusal)))
        if refused:
            asyncio.get_running_loop().call_soon(ended, refused)
        self._let_through()
        if self._admission.waiting:
            self._watch_time(now + min(call.timeout_s for call in calls))

    def cut_off(self, job_id: str) -> None:
        """Wait no longer for this job's calls; each is told as None. The sidecar is asked to stop what it runs."""
        cut = self._admission.cut(job_id)
        for place in cut:
            if place.give_up is not None:
                place.give_up()
                self._sidecar.used()
        if any(place.give_up is not None for place in cut) and self._sidecar.run is not None:
            self._sidecar.errand(self._sidecar.run.client.cancel(job_id))
        self._tell([(place, None) for place in cut])
        self._let_through()

    def cancel(self, job_id: str) -> None:
        """Ask this job's calls to stop, if there are any; returns at once."""
        if self._admission.holds(job_id) and self._sidecar.run is not None:
            self._sidecar.errand(self._sidecar.run.client.cancel(job_id))

    async def start(self) -> None:
        """Bring it up now (prewarm); a failure shows in `state`, not here."""
        await self._sidecar.obtain(self._clock.monotonic() + self._startup_timeout_s)

    async def stop(self) -> None:
        """Drain and end it for good: calls in flight may finish within `drain_s`, new ones are refused."""
        self._sidecar.closed = True
        self._turn_away(self._sidecar.stopping())
        await self._sidecar.stop()
        if self._late is not None:
            self._late.cancel()

    # --- time ---------------------------------------------------------------------------------------------------------

    def _watch_time(self, until: float) -> None:
        """Turn a waiting call away when its time is up."""
        if self._late is not None and self._late_at <= until:
            return
        if self._late is not None:
            self._late.cancel()
        self._late_at = until
        delay_s = max(0.0, until - self._clock.monotonic())
        self._late = asyncio.get_running_loop().call_later(delay_s, self._time_is_up)

    def _time_is_up(self) -> None:
        self._late = None
        error = CallError("timeout", f"no free slot of {self.name} in time", retryable=True)
        self._turn_away(error, self._clock.monotonic())
        if (until := self._admission.next_deadline()) is not None:
            self._watch_time(until)

    # --- the way of a call --------------------------------------------------------------------------------------------

    def _let_through(self) -> None:
        """Make the calls whose turn it is; with nobody to make them, bring the sidecar up first."""
        run = self._sidecar.run
        if run is None:
            if self._admission.waiting and self._bringing_up is None:
                self._bringing_up = asyncio.create_task(self._bring_up(), name=f"bring-up-{self.name}")
                self._bringing_up.add_done_callback(self._brought_up)
            return
        while places := self._admission.next_calls(batch.MAX_CALLS):
            for group in groups(places, together=self._takes_batches):
                self._make(run, group)

    def _make(self, run: Run, places: Sequence[Place]) -> None:
        now = self._clock.monotonic()
        by_call = {id(place.call): place for place in places}
        ended = partial(self._ended, run, by_call)
        timed = [(place.call, max(0.001, place.until - now)) for place in places]
        if len(places) > 1:
            reply = run.client.start_batch(timed, ended)
            for place in places:
                place.give_up = partial(reply.give_up, place.call)
        else:
            places[0].give_up = run.client.start(*timed[0], ended)

    def _ended(self, run: Run, by_call: dict[int, Place], answered: Sequence[Answered]) -> None:
        """Some calls of a run have ended."""
        gone = False
        unmade: list[Place] = []
        outcomes: list[tuple[Place, Outcome | None]] = []
        for call, result in answered:
            gone = gone or (isinstance(result, CallError) and result.code in GONE_CODES)
            if result is NO_BATCHES:
                unmade.append(by_call[id(call)])
            else:
                outcomes.append((by_call[id(call)], self._outcome(result, run.process.pid)))
        if unmade:
            self._give_batches_up()
            for place in unmade:
                if not place.gone:
                    self._make(run, [place])
        if gone:
            self._sidecar.errand(self._end_after_exit(run, outcomes))
        else:
            self._end(outcomes)

    def _give_batches_up(self) -> None:
        """The plugin announces batches and does not take them: its calls go one by one from now on."""
        if self._takes_batches:
            self._takes_batches = False
            _log.warning("a plugin announces batches and answers that it has none; calls go alone", plugin=self.name)

    async def _end_after_exit(self, run: Run, outcomes: Sequence[tuple[Place, Outcome | None]]) -> None:
        await run.process.wait_exit(NOTICE_S)  # so that the next call does not meet the same dead process
        self._end(outcomes)

    def _end(self, outcomes: Sequence[tuple[Place, Outcome | None]]) -> None:
        self._sidecar.used()
        kept = [(place, outcome) for place, outcome in outcomes if not place.gone]
        for place, _ in kept:
            self._admission.leave(place)
        self._tell(kept, soon=False)
        self._let_through()

    def _tell(self, outcomes: Sequence[tuple[Place, Outcome | None]], *, soon: bool = True) -> None:
        """Tell each caller of all its calls at once."""
        by_caller: dict[int, tuple[Ended, list[tuple[str, Outcome | None]]]] = {}
        for place, outcome in outcomes:
            by_caller.setdefault(id(place.ended), (place.ended, []))[1].append((place.call.job_id, outcome))
        for ended, told in by_caller.values():
            if soon:
                asyncio.get_running_loop().call_soon(ended, told)
            else:
                ended(told)

    def _turn_away(self, error: CallError, now: float | None = None) -> None:
        self._tell([(place, self._outcome(error)) for place in self._admission.turn_away(now)])

    async def _bring_up(self) -> None:
        """Obtain the sidecar for the calls that wait; each waits as long as its own time lasts."""
        while (until := self._admission.next_deadline()) is not None:
            found = await self._sidecar.obtain(until)
            if not isinstance(found, CallError):
                return
            late = found.code == "timeout"
            self._turn_away(found, self._clock.monotonic() if late else None)

    def _brought_up(self, task: asyncio.Task[None]) -> None:
        self._bringing_up = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._turn_away(CallError("sidecar_unavailable", f"{self.name} could not be started", retryable=True))
            raise error
        self._let_through()

    def _outcome(self, result: bytes | CallError, pid: int = 0) -> Outcome:
        if isinstance(result, CallError):
            return Outcome(False, error=result, plugin=self.name, plugin_version=self._version, sidecar_pid=pid)
        return Outcome(True, output=result, plugin=self.name, plugin_version=self._version, sidecar_pid=pid)


def _resolve(waiter: asyncio.Future[Outcome | None], ended: Sequence[tuple[str, Outcome | None]]) -> None:
    if not waiter.done():
        waiter.set_result(ended[0][1])
