"""Runs calls of adapters that are coroutines: one task each, ended by callback like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from aisops_runner.adapters.calls import Call, CallError, Ended, Outcome

_log = structlog.get_logger("aisops_runner.host")


class CallTasks:
    """The calls under way as tasks.

    Args:
        invoke: Runs one call; raises nothing but CancelledError.
    """

    def __init__(self, invoke: Callable[[Call], Awaitable[Outcome]]) -> None:
        self._invoke = invoke
        self._tasks: dict[asyncio.Task[Outcome], str] = {}

    def begin(self, call: Call, ended: Ended) -> None:
        """Run a call; `ended` is told later."""
        task = asyncio.create_task(self._run(call), name=f"call {call.job_id}")
        self._tasks[task] = call.job_id
        task.add_done_callback(partial(self._ended, call.job_id, ended))

    def cut_off(self, job_id: str) -> None:
        """Cancel the calls of a job; each is told as None."""
        for task, name in list(self._tasks.items()):
            if name == job_id:
                task.cancel()

    async def _run(self, call: Call) -> Outcome:
        return await self._invoke(call)

    def _ended(self, job_id: str, ended: Ended, task: asyncio.Task[Outcome]) -> None:
        """A callback and not the end of a coroutine: a task cancelled before its first step never runs its body."""
        self._tasks.pop(task, None)
        if task.cancelled():
            ended([(job_id, None)])
        elif (error := task.exception()) is not None:
            _log.error("the plugin host failed", error=repr(error))
            failure = CallError("host_failed", "the Runner failed while it made the call", ambiguous=True)
            ended([(job_id, Outcome(ok=False, error=failure))])
        else:
            ended([(job_id, task.result())])
