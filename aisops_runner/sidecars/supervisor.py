"""Lets calls through to one plugin's sidecar, which runs while it is wanted.

The process and its runs are the `Sidecar`'s; here the callers meet it. Every call ends in one `Outcome`, whatever
happens to the process meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aisops_runner.adapters.calls import Call, CallError, Outcome
from aisops_runner.clock import Clock
from aisops_runner.sidecars.admission import Admission
from aisops_runner.sidecars.client import GONE_CODES
from aisops_runner.sidecars.process import SidecarSpec
from aisops_runner.sidecars.restart import State
from aisops_runner.sidecars.settings import SupervisorSettings
from aisops_runner.sidecars.sidecar import Sidecar

NOTICE_S = 0.2


class Supervisor:
    """One plugin's sidecar, as its callers and the fleet see it.

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
        self._startup_timeout_s = spec.manifest.startup_timeout_s
        self._clock = clock
        self._admission = Admission(self.name, slots=settings.max_concurrency, queue_limit=settings.queue_limit)
        self._sidecar = Sidecar(spec, settings, self._admission, clock=clock, draw=draw, on_state=on_state)

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
        """Make one call, starting the sidecar when it does not run.

        Returns:
            What came of it. Codes made here: `plugin_busy`, `draining`, `sidecar_unavailable`, `plugin_quarantined`,
            `incompatible`, `timeout`: nothing left the Runner with any of them.
        """
        deadline = self._clock.monotonic() + call.timeout_s
        if self._sidecar.closed:
            return self._outcome(self._sidecar.stopping())
        refusal = await self._admission.enter(call.job_id, call.timeout_s)
        if refusal is not None:
            return self._outcome(refusal)
        try:
            return await self._make(call, deadline)
        finally:
            self._sidecar.used()
            self._admission.leave(call.job_id)

    def cancel(self, job_id: str) -> None:
        """Ask this job's calls to stop, if there are any; returns at once."""
        if self._admission.holds(job_id) and self._sidecar.run is not None:
            self._sidecar.errand(self._sidecar.run.client.cancel(job_id))

    async def start(self) -> None:
        """Bring it up now (prewarm); a failure shows in `state`, not here."""
        await self._sidecar.obtain(self._clock.monotonic() + self._startup_timeout_s)

    async def stop(self) -> None:
        """Drain and end it for good: calls in flight may finish within `drain_s`, new ones are refused."""
        await self._sidecar.stop()

    async def _make(self, call: Call, deadline: float) -> Outcome:
        run = await self._sidecar.obtain(deadline)
        if isinstance(run, CallError):
            return self._outcome(run)
        try:
            result = await run.client.invoke(call, max(0.001, deadline - self._clock.monotonic()))
        except asyncio.CancelledError:
            self._sidecar.errand(run.client.cancel(call.job_id))
            raise
        if isinstance(result, CallError) and result.code in GONE_CODES:
            await run.process.wait_exit(NOTICE_S)  # so that the next call does not meet the same dead process
        return self._outcome(result, run.process.pid)

    def _outcome(self, result: bytes | CallError, pid: int = 0) -> Outcome:
        if isinstance(result, CallError):
            return Outcome(False, error=result, plugin=self.name, plugin_version=self._version, sidecar_pid=pid)
        return Outcome(True, output=result, plugin=self.name, plugin_version=self._version, sidecar_pid=pid)
