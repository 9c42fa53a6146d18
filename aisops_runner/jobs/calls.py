"""The calls under way: made, got ready for and stopped as the execution machine asks, and how each of them ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

import structlog

from aisops_runner.adapters.calls import Call, CallError, Outcome
from aisops_runner.jobs.commands import Invoke, Stop, Warm

CUT_OFF_S = 5.0

_log = structlog.get_logger("aisops_runner.jobs")


class Host(Protocol):
    """What runs calls: `adapters.host.PluginHost` in the product."""

    def invoke(self, call: Call) -> Coroutine[Any, Any, Outcome]:
        """Run one call; raises nothing but CancelledError."""
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
    """One task per call, and one per capability that is got ready.

    Args:
        host: Runs the calls.
        tenant_id: Given to every call.
        runner_id: Given to every call.
        on_ended: Told a job's id and its call's outcome; None when the call was cut off.
        on_warmed: Told the id of the job whose capability is ready, or could not be got ready.
    """

    def __init__(
        self,
        host: Host,
        *,
        tenant_id: str,
        runner_id: str,
        on_ended: Callable[[str, Outcome | None], None],
        on_warmed: Callable[[str], None],
    ) -> None:
        self._host = host
        self._tenant_id = tenant_id
        self._runner_id = runner_id
        self._on_ended = on_ended
        self._on_warmed = on_warmed
        self._calling: dict[str, asyncio.Task[Outcome]] = {}
        self._warming: set[asyncio.Task[None]] = set()

    def invoke(self, command: Invoke) -> None:
        """Make a call; returns at once."""
        job = command.job
        call = Call(
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
            traceparent=dict(job.trace_context).get("traceparent", ""),
        )
        task = asyncio.create_task(self._host.invoke(call), name=f"call {job.job_id}")
        self._calling[job.job_id] = task
        task.add_done_callback(partial(self._ended, job.job_id))

    def warm(self, command: Warm) -> None:
        """Get a capability ready; returns at once."""
        task = asyncio.create_task(self._host.prepare(command.capability), name=f"warm {command.capability}")
        self._warming.add(task)
        task.add_done_callback(partial(self._warmed, command.job_id))

    def stop(self, command: Stop) -> None:
        """Ask a call's adapter to stop it, or cut it off; its end is told as any other's."""
        if command.kill:
            task = self._calling.get(command.job_id)
            if task is not None:
                task.cancel()
        else:
            self._host.cancel(command.job_id)

    def under_way(self) -> tuple[asyncio.Task[Any], ...]:
        """The tasks of calls and of getting ready that have not ended."""
        return (*self._calling.values(), *self._warming)

    async def finish(self) -> None:
        """Get nothing ready any more, and wait up to five seconds until what is under way has ended."""
        under_way = self.under_way()
        for task in self._warming:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way, timeout=CUT_OFF_S)

    def _warmed(self, job_id: str, task: asyncio.Task[None]) -> None:
        self._warming.discard(task)
        self._on_warmed(job_id)

    def _ended(self, job_id: str, task: asyncio.Task[Outcome]) -> None:
        """A callback and not the end of a coroutine: a task cancelled before its first step never runs its body."""
        self._calling.pop(job_id, None)
        outcome: Outcome | None = None
        if not task.cancelled():
            error = task.exception()
            outcome = task.result() if error is None else _broken_host(error)
        self._on_ended(job_id, outcome)


def _broken_host(error: BaseException) -> Outcome:
    _log.error("the plugin host failed", error=repr(error))
    return Outcome(ok=False, error=CallError("host_failed", "the Runner failed while it made the call", ambiguous=True))
