"""A network and a set of mounts of one's own, which the kernel takes away with the last process in them.

Nothing made here has a name in the machine's own world: neither a network namespace nor a mount can be left behind,
whatever is killed and whenever. A thread enters the world and runs an event loop there; the programs it starts and the
threads its loop makes are born inside. Loopback is up and nothing else is there, so no packet can leave.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000


async def in_private_world(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` in a fresh network and mount namespace, on an event loop of its own; return what it returns.

    Args:
        work: Starts every program and opens every socket that belongs to the world. Cancelling this call cancels it.

    Raises:
        OSError: This process may not make namespaces (it takes root).
    """
    outcome: Future[T] = Future()
    inside = _Inside(work, outcome)
    thread = threading.Thread(target=inside.live, name="private-world", daemon=True)
    thread.start()
    try:
        return await asyncio.shield(asyncio.wrap_future(outcome))
    except asyncio.CancelledError:
        inside.cancel()
        raise
    finally:
        await asyncio.to_thread(thread.join)


class _Inside(Generic[T]):
    """The thread's life: enter, run, report."""

    def __init__(self, work: Callable[[], Awaitable[T]], outcome: Future[T]) -> None:
        self._work, self._outcome = work, outcome
        self._gate = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[T] | None = None
        self._cancelled = False

    def live(self) -> None:
        try:
            _enter()
            value = asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits outside
            self._outcome.set_exception(error)
        else:
            self._outcome.set_result(value)

    def cancel(self) -> None:
        with self._gate:
            self._cancelled = True
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self) -> T:
        with self._gate:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if self._cancelled:
                raise asyncio.CancelledError
        try:
            return await self._work()
        finally:
            with self._gate:
                self._loop = None


def _enter() -> None:
    """Move the calling thread, and whatever it starts from now on, into a world of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no namespace of our own: {os.strerror(number)}")
    run("mount", "--make-rprivate", "/")
    run("ip", "link", "set", "lo", "up")


def mount_small_disk(folder: Path, size_bytes: int) -> None:
    """Put an empty disk of so many octets at `folder`, for this world only."""
    folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "tmpfs", str(folder))


def run(*words: str, script: str = "") -> str:
    """Run a command in the calling thread's world and return what it printed.

    Raises:
        RuntimeError: It failed; its own words are in the message.
    """
    done = subprocess.run(words, input=script, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(words)} failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout
