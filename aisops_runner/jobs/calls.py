"""The calls under way: made, got ready for and stopped as the execution machine asks, and how each of them ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from aisops_runner.adapters.calls import Call, Ended, Outcome
from aisops_runner.jobs.commands import Invoke, Stop, Warm

CUT_OFF_S = 5.0


class Host(Protocol):
    """What runs calls: `adapters.host.PluginHost` in the product."""

    def begin(self, calls: Sequence[Call], ended: Ended) -> None:
        """Run calls; `ended` is told later, of several at a time, and never raises."""
        ...

    def cut_off(self, job_id: str) -> None:
        """Wait no longer for a job's call; it is told as None."""
        ...

    def cancel(self, job_id: str) -> None:
        """Ask a running call to stop."""
        ...

    def ready(self, capability: str) -> bool:
        """Whether a call would leave at once."""
        ...

    def prepare(self, capability: str) -> Coroutine[Any, Any, None]:
        """Get ready for calls; raises nothing but CancelledError."""
        ...


class Calls:
    """The calls of the jobs, and one task per capability that is got ready.

    Args:
        host: Runs the calls.
        tenant_id: Given to every call.
        runner_id: Given to every call.
        on_ended: Told what came of some calls, by job id; None for one that was cut off.
        on_warmed: Told the id of the job whose capability is ready, or could not be got ready.
    """

    def __init__(
        self,
        host: Host,
        *,
        tenant_id: str,
        runner_id: str,
        on_ended: Ended,
        on_warmed: Callable[[str], None],
    ) -> None:
        self._host = host
        self._tenant_id = tenant_id
        self._runner_id = runner_id
        self._on_ended = on_ended
        self._on_warmed = on_warmed
        self._calling: set[str] = set()
        self._none_left = asyncio.Event()
        self._warming: set[asyncio.Task[None]] = set()

    def invoke(self, commands: Sequence[Invoke]) -> None:
        """Make calls; returns at once."""
        self._calling.update([command.job.job_id for command in commands])
        self._host.begin([self._call(command) for command in commands], self._ended)

    def warm(self, command: Warm) -> None:
        """Get a capability ready; returns at once."""
        task = asyncio.create_task(self._host.prepare(command.capability), name=f"warm {command.capability}")
        self._warming.add(task)
        task.add_done_callback(partial(self._warmed, command.job_id))

    def stop(self, command: Stop) -> None:
        """Ask a call's adapter to stop it, or cut it off; its end is told as any other's."""
        if not command.kill:
            self._host.cancel(command.job_id)
        elif command.job_id in self._calling:
            self._host.cut_off(command.job_id)

    async def finish(self) -> None:
        """Get nothing ready any more, and wait up to five seconds until what is under way has ended."""
        warming = tuple(self._warming)
        for task in warming:
            task.cancel()
        try:
            async with asyncio.timeout(CUT_OFF_S):
                await asyncio.gather(*warming, return_exceptions=True)
                while self._calling:
                    self._none_left.clear()
                    await self._none_left.wait()
        except TimeoutError:
            return

    def cut_off_all(self) -> None:
        """Wait for nothing any more."""
        for job_id in tuple(self._calling):
            self._host.cut_off(job_id)
        for task in tuple(self._warming):
            task.cancel()

    def _call(self, command: Invoke) -> Call:
        job = command.job
        return Call(
            job_id=job.job_id,
            tenant_id=self._tenant_id,
            runner_id=self._runner_id,
            attempt=command.attempt,
            capability=job.capability,
            input=job.input,
            effect_key=job.effect_key or job.job_id,
            timeout_s=command.timeout_s,
            execution_id=job.execution_id,
            step_id=job.step_id,
            traceparent=dict(job.trace_context).get("traceparent", "") if job.trace_context else "",
        )

    def _warmed(self, job_id: str, task: asyncio.Task[None]) -> None:
        self._warming.discard(task)
        self._on_warmed(job_id)

    def _ended(self, outcomes: Sequence[tuple[str, Outcome | None]]) -> None:
        self._calling.difference_update([job_id for job_id, _ in outcomes])
        if not self._calling:
            self._none_left.set()
        self._on_ended(outcomes)
