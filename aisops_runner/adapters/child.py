"""One child process in a session of its own: started, watched by pidfd, and ended with everything it started.

asyncio's own `Process.wait()` returns only when the pipes close, so a grandchild that keeps stdout open hides an exit;
here the exit is seen through the process itself. The child is spawned from the loop's thread, because PDEATHSIG (set by
the child) fires when the *thread* that spawned it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

REAP_S = 2.0
REAP_EVERY_S = 0.005


class Child:
    """A running child. `exited` resolves to its return code (negative: the signal that ended it).

    Whatever is left of its process group when it ends is killed before the child is reaped: its id, and so its group's,
    cannot have been given to anybody else by then.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self.pid = process.pid
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
    ) -> Child:
        """Start a program in its own session, with exactly this environment and no inherited descriptor.

        Raises:
            OSError: It cannot be started.
        """
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            close_fds=True,
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        """Whether it has not been seen to exit."""
        return not self.exited.done()

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the child and everything in its group; nothing happens when it is gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the exit at most so many seconds; whether it has exited."""
        if self.alive:
            await asyncio.wait((self.exited,), timeout=timeout_s)
        return not self.alive

    async def kill(self) -> None:
        """SIGKILL the group and reap, within `REAP_S` (a process stuck in the kernel is left to it)."""
        self.kill_group()
        await self.wait(REAP_S)

    def kill_group(self) -> None:
        """SIGKILL the group at once; the exit is seen by whoever waits."""
        self.signal_group(signal.SIGKILL)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # the leader is a zombie: its group id is still ours
        self._reap(self._loop.time() + REAP_S)

    def _reap(self, until: float) -> None:
        """Take the exit code. Under a tracer (strace, a debugger) the kernel has it for us only after that one."""
        code = self._process.poll()
        if code is None and self._loop.time() < until:
            self._loop.call_later(REAP_EVERY_S, self._reap, until)
        else:
            self.exited.set_result(-signal.SIGKILL if code is None else code)
