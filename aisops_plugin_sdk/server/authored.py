"""Calls functions that the plugin author wrote: coroutines on the loop, plain functions in threads."""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


class CalledExit(RuntimeError):
    """Plugin code called `sys.exit`."""


class AuthoredCalls:
    """Runs authored functions. Threads are made when the first plain function is called, at most `max_threads`."""

    def __init__(self, max_threads: int) -> None:
        self._max_threads = max_threads
        self._executor: ThreadPoolExecutor | None = None
        self._abandoned: set[Future[Any]] = set()
        self._coroutines: dict[Callable[..., Any], bool] = {}

    @property
    def abandoned(self) -> int:
        """How many plain functions still run although their caller was cancelled."""
        return len(self._abandoned)

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call and return what the function returns. Cancelling leaves a plain function running in its thread.

        Raises:
            CalledExit: the function called `sys.exit`; a sidecar serves many and does not end for one.
        """
        try:
            if self._is_coroutine(function):
                return await function(*arguments)
            result = await self._in_thread(function, arguments)
            return await result if inspect.isawaitable(result) else result
        except SystemExit:
            raise CalledExit from None

    def _is_coroutine(self, function: Callable[..., Any]) -> bool:
        """Tell what a function is, looking once: a plugin has few, and each is called often."""
        known = self._coroutines.get(function)
        if known is None:
            known = self._coroutines[function] = inspect.iscoroutinefunction(function)
        return known

    async def _in_thread(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Run a plain function in a thread, keeping count of those nobody waits for any more."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._max_threads, thread_name_prefix="aisops-plugin")
        loop = asyncio.get_running_loop()
        future = self._executor.submit(copy_context().run, function, *arguments)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.done():
                self._abandoned.add(future)
                future.add_done_callback(lambda done: _on_loop(loop, self._abandoned.discard, done))
            raise

    def close(self) -> None:
        """Take no further plain function. Running ones are not waited for."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *arguments: Any) -> None:
    """Run something on the loop from a thread, unless the loop is gone with the process."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
