"""One start of a sidecar: the process, its pipes, its token and its orderly end.

How a sidecar gets ready, and what its standard input and output are for, differs between the kinds of plugins: that is
its `Opening`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from aisops_plugin_sdk.manifest import Manifest
from aisops_protocol.messages import LogLevel
from aisops_runner.adapters.calls import JobLog
from aisops_runner.adapters.child import Child
from aisops_runner.adapters.kinds import Foreign
from aisops_runner.adapters.pipes import LineReader, open_pipe
from aisops_runner.clock import Clock
from aisops_runner.errors import SidecarStartFailed
from aisops_runner.sidecars.environment import build_env
from aisops_runner.sidecars.lines import parse_log
from aisops_runner.sidecars.runfile import RunFile

STOP_STEP_S = 2.0
LOG_LINES_PER_S = 200
LOG_BURST = 1000
LAST_WORDS_CHARS = 300


def serve_argv(name: str, python: str = "") -> list[str]:
    """The command that serves a plugin of an environment, this one by default.

    `-P`: the working directory is not importable.
    """
    return [python or sys.executable, "-P", "-m", "aisops_plugin_sdk", "serve", name]


@dataclass(frozen=True, slots=True)
class SidecarSpec:
    """What every start of one plugin's sidecar has in common.

    Attributes:
        manifest: The plugin as described.
        argv: The command.
        runner_env: The Runner's own environment; only listed variables of it are passed on.
        configured: The operator's values or references, by variable.
        run_file: Where the running process is recorded.
        cwd: Working directory.
        dry_run: Whether nothing may leave.
        on_log: Takes every log line.
        redact: Takes secrets out of a text.
        register_secret: Told every secret value before the process knows it.
        foreign: What is known of a plugin written for the original product; None for one of the SDK.
    """

    manifest: Manifest
    argv: Sequence[str]
    runner_env: Mapping[str, str]
    configured: Mapping[str, str]
    run_file: RunFile
    cwd: Path
    dry_run: bool
    on_log: Callable[[JobLog], None]
    redact: Callable[[str], str]
    register_secret: Callable[[str], None]
    foreign: Foreign | None = None


class Opening(Protocol):
    """How one start of a sidecar gets ready; made anew for every start.

    Attributes:
        leaves_s: Seconds it may take to leave once its standard input has ended, before it gets a SIGTERM.
    """

    leaves_s: float

    def variables(self) -> Mapping[str, str]:
        """What the process is told in its environment, besides what every sidecar is."""
        ...

    def stdout(self, log: Callable[[bytes], None], admit: Callable[[], int]) -> asyncio.Protocol:
        """What reads its standard output.

        Args:
            log: Takes a line that is a log line.
            admit: How many log lines may pass now.
        """
        ...

    async def take_stdin(self, fd: int) -> Callable[[], None]:
        """Take the writing end of its standard input over; what closes it. Its end tells the process to leave."""
        ...

    async def ready(self, process: SidecarProcess) -> None:
        """Wait until it serves. The process may end meanwhile: whoever waits here looks at `process.exited`.

        Raises:
            SidecarStartFailed: It never will.
        """
        ...

    def refusal(self) -> str:
        """Why it said, in its own words, that it will not start; empty: it did not say."""
        ...


class LogBudget:
    """How many lines a sidecar may log: a burst, refilled at a steady rate."""

    def __init__(self, clock: Clock, *, per_s: float = LOG_LINES_PER_S, burst: int = LOG_BURST) -> None:
        self._clock, self._per_s, self._burst = clock, per_s, burst
        self._left = float(burst)
        self._at = clock.monotonic()

    def take(self) -> bool:
        """Use one line of the budget, if there is one."""
        if self.left() < 1:
            return False
        self._left -= 1
        return True

    def left(self) -> int:
        """Lines that may pass now."""
        now = self._clock.monotonic()
        self._left = min(float(self._burst), self._left + (now - self._at) * self._per_s)
        self._at = now
        return int(self._left)


class SidecarProcess:
    """A started sidecar. Use `start_sidecar`; `stop` or `kill` must be called, also after it exited by itself."""

    def __init__(self, spec: SidecarSpec, opening: Opening, token: str, clock: Clock) -> None:
        self._spec = spec
        self._opening = opening
        self._clock = clock
        self._cleanup = ExitStack()
        self._readers: list[LineReader] = []
        self._budget = LogBudget(clock)
        self._unread = 0
        self._told_dropped = 0
        self._child: Child | None = None
        self._close_stdin: Callable[[], None] | None = None
        self._doom = ""
        self.last_words = ""
        self.token = token

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._child.pid if self._child else 0

    @property
    def exited(self) -> asyncio.Future[int]:
        """Resolves to the return code when the process ends.

        Raises:
            SidecarStartFailed: It was never started.
        """
        if self._child is None:
            raise SidecarStartFailed(f"{self._spec.manifest.name} was never started")
        return self._child.exited

    @property
    def lines_dropped(self) -> int:
        """Log lines beyond the rate limit, counted and not read."""
        return self._unread + sum(reader.lines_dropped for reader in self._readers)

    def tell_dropped(self) -> None:
        """Log how many lines were dropped since it was last told; nothing when none were."""
        dropped = self.lines_dropped - self._told_dropped
        if dropped:
            self._told_dropped += dropped
            text = f"{dropped} log lines were dropped: more than {LOG_LINES_PER_S} a second"
            name = self._spec.manifest.name
            self._spec.on_log(JobLog("", LogLevel.WARNING, text, self._clock.unix_ms(), name))

    async def wait_exit(self, timeout_s: float) -> None:
        """Wait for the exit at most so many seconds, and let whoever watches it act first."""
        if self._child is not None and await self._child.wait(timeout_s):
            await asyncio.sleep(0)

    def exit_reason(self) -> str:
        """One line for people about an exit that nobody asked for."""
        if self._doom:
            return self._doom
        code = self.exited.result() if self.exited.done() else 0
        ending = f"was ended by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
        return f"{ending}: {self.last_words}" if self.last_words else ending

    def condemn(self, reason: str) -> None:
        """End it at once for what it did; the reason is told as that of its exit."""
        if self._child is not None and self._child.alive and not self._doom:
            self._doom = reason
            self._child.kill_group()

    async def start(self) -> None:
        """Spawn and wait until it serves.

        Raises:
            SidecarStartFailed: Not within the manifest's start-up time, or it exited, or speaks another contract. The
                process is gone then.
            SecretUnavailable: A configured reference leads nowhere; nothing was started.
        """
        try:
            await self._spawn()
            await self._await_ready()
        except BaseException:
            await asyncio.shield(self.kill())
            raise

    async def stop(self, shutdown: Callable[[], Awaitable[bool]], *, drain_s: float) -> None:
        """End it in steps: ask, close its stdin, SIGTERM, SIGKILL; each step only when the one before did not do.

        Args:
            shutdown: Asks the sidecar to finish; whether it will then exit by itself.
            drain_s: Seconds it may take to finish what it is doing after being asked.
        """
        if self._child is None:
            return
        try:
            if self._child.alive and await shutdown():
                await self._child.wait(drain_s)
            self._let_go()
            if not await self._child.wait(self._opening.leaves_s):
                self._child.signal_group(signal.SIGTERM)
                await self._child.wait(STOP_STEP_S)
        finally:
            await asyncio.shield(self.kill())

    async def kill(self) -> None:
        """SIGKILL the group, reap it, and close everything; harmless when it is gone."""
        if self._child is not None:
            await self._child.kill()
        self._let_go()
        self._cleanup.close()
        self.tell_dropped()
        self._spec.run_file.remove()

    async def _spawn(self) -> None:
        env = build_env(
            self._spec.manifest,
            self._spec.runner_env,
            self._spec.configured,
            token=self.token,
            dry_run=self._spec.dry_run,
            foreign=self._spec.foreign,
        )
        for value in env.secrets:
            self._spec.register_secret(value)
        with ExitStack() as ours:
            stdin_fd, write_fd = os.pipe()
            ours.callback(os.close, stdin_fd)
            self._close_stdin = partial(os.close, write_fd)
            self._close_stdin = await self._opening.take_stdin(write_fd)
            stdout = self._opening.stdout(partial(self._on_text, stderr=False), self._budget.left)
            stderr = LineReader(partial(self._on_text, stderr=True), admit=self._budget.left)
            fds = []
            for reader in (stdout, stderr):
                transport, fd = await open_pipe(partial(_same, reader))
                ours.callback(os.close, fd)
                self._cleanup.callback(transport.close)
                fds.append(fd)
                if isinstance(reader, LineReader):
                    self._readers.append(reader)
            try:
                self._child = Child.spawn(
                    self._spec.argv,
                    env={**env.variables, **self._opening.variables()},
                    cwd=self._spec.cwd,
                    stdin=stdin_fd,
                    stdout=fds[0],
                    stderr=fds[1],
                )
            except OSError as error:
                raise SidecarStartFailed(f"cannot be started: {error}") from None
        self._spec.run_file.write(self._child.pid)

    async def _await_ready(self) -> None:
        """Wait for the opening, at most as long as the manifest gives it; an exit ends the wait."""
        limit_s = self._spec.manifest.startup_timeout_s
        ready = asyncio.ensure_future(self._opening.ready(self))
        try:
            await asyncio.wait((ready, self.exited), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                return await ready
            if self.exited.done():
                await asyncio.wait([reader.closed for reader in self._readers], timeout=1.0)
                self.last_words = self._opening.refusal() or self.last_words
                raise SidecarStartFailed(self.exit_reason())
            hint = f" (last words: {self.last_words})" if self.last_words else ""
            raise SidecarStartFailed(f"did not get ready within {limit_s:g} s{hint}")
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    def _on_text(self, line: bytes, *, stderr: bool) -> None:
        if not line:
            return
        if not self._budget.take():
            self._unread += 1
            return
        log = parse_log(
            line,
            source=self._spec.manifest.name,
            now_unix_ms=self._clock.unix_ms(),
            stderr=stderr,
            redact=self._spec.redact,
        )
        if not log.job_id:
            self.last_words = log.text[:LAST_WORDS_CHARS]
        self._spec.on_log(log)

    def _let_go(self) -> None:
        """End its standard input, which tells it to leave."""
        close, self._close_stdin = self._close_stdin, None
        if close is not None:
            close()


async def start_sidecar(spec: SidecarSpec, clock: Clock, opening: Opening, *, token: str = "") -> SidecarProcess:
    """Start one sidecar and wait until it is ready.

    Args:
        spec: What every start has in common.
        clock: Time.
        opening: How it gets ready.
        token: What signs its calls; a fresh one by default.

    Raises:
        SidecarStartFailed: It did not get ready; nothing of it is left.
        SecretUnavailable: A configured reference leads nowhere.
    """
    process = SidecarProcess(spec, opening, token or secrets.token_hex(32), clock)
    await process.start()
    return process


def _same(reader: asyncio.Protocol) -> asyncio.Protocol:
    return reader


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
