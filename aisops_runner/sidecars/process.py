"""One start of a sidecar: the process, its pipes, its token and its orderly end."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from aisops_plugin_sdk.events import EVENT_BURST, EVENTS_PER_S, LINE_START
from aisops_plugin_sdk.manifest import Manifest
from aisops_protocol.messages import LogLevel
from aisops_runner.adapters.calls import JobLog
from aisops_runner.adapters.child import Child
from aisops_runner.adapters.pipes import LineReader, open_pipe
from aisops_runner.clock import Clock
from aisops_runner.errors import SidecarStartFailed
from aisops_runner.sidecars.environment import build_env
from aisops_runner.sidecars.inbound import Keep
from aisops_runner.sidecars.lines import (
    CONTRACTS,
    PluginEvent,
    Ready,
    common_contract,
    is_event,
    parse_event,
    parse_log,
    parse_ready,
    parse_refusal,
)
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
        told: Variables of the contract by which the SDK hears what the operator set.
        on_event: Takes every event.
        on_inbound: Stores what a provider sent to one of its webhooks; None: nothing is asked for.
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
    told: Mapping[str, str] = field(default_factory=dict)
    on_inbound: Keep | None = None
    on_event: Callable[[PluginEvent], None] = lambda _event: None


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

    def __init__(self, spec: SidecarSpec, token: str, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._cleanup = ExitStack()
        self._readers: list[LineReader] = []
        self._budget = LogBudget(clock)
        self._events = LogBudget(clock, per_s=2 * EVENTS_PER_S, burst=2 * EVENT_BURST)
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._last_words = ""
        self._unread = 0
        self._told_dropped = 0
        self._child: Child | None = None
        self._lifeline = -1
        self.token = token
        self.port = 0

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
        code = self.exited.result() if self.exited.done() else 0
        ending = f"was ended by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
        return f"{ending}: {self._last_words}" if self._last_words else ending

    async def start(self) -> None:
        """Spawn and wait for the ready line.

        Raises:
            SidecarStartFailed: Not within the manifest's start-up time, or it exited, or speaks another contract. The
                process is gone then.
            SecretUnavailable: A configured reference leads nowhere; nothing was started.
        """
        try:
            await self._spawn()
            ready = await self._await_ready()
        except BaseException:
            await asyncio.shield(self.kill())
            raise
        self.port = ready.port

    async def stop(self, shutdown: Callable[[], Awaitable[bool]], *, drain_s: float) -> None:
        """End it in steps: ask, close its stdin, SIGTERM, SIGKILL; each step only when the one before did not do.

        Args:
            shutdown: Asks the sidecar to drain and exit (POST /v1/shutdown); whether it agreed.
            drain_s: Seconds it may take to finish what it is doing after being asked.
        """
        if self._child is None:
            return
        try:
            if self._child.alive and await shutdown():
                await self._child.wait(drain_s)
            self._close_lifeline()
            if not await self._child.wait(STOP_STEP_S):
                self._child.signal_group(signal.SIGTERM)
                await self._child.wait(STOP_STEP_S)
        finally:
            await asyncio.shield(self.kill())

    async def kill(self) -> None:
        """SIGKILL the group, reap it, and close everything; harmless when it is gone."""
        if self._child is not None:
            await self._child.kill()
        self._close_lifeline()
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
            told=self._spec.told,
        )
        for value in env.secrets:
            self._spec.register_secret(value)
        with ExitStack() as ours:
            stdin_fd, self._lifeline = os.pipe()
            ours.callback(os.close, stdin_fd)
            fds = []
            for handler, admit in ((self._on_stdout, None), (partial(self._on_text, stderr=True), self._budget.left)):
                reader = LineReader(
                    handler, admit=admit or self._stdout_left, kept=LINE_START, admit_kept=self._events.left
                )
                transport, write_fd = await open_pipe(partial(_same, reader))
                ours.callback(os.close, write_fd)
                self._cleanup.callback(transport.close)
                self._readers.append(reader)
                fds.append(write_fd)
            try:
                self._child = Child.spawn(
                    self._spec.argv, env=env.variables, cwd=self._spec.cwd, stdin=stdin_fd, stdout=fds[0], stderr=fds[1]
                )
            except OSError as error:
                raise SidecarStartFailed(f"cannot be started: {error}") from None
        self._spec.run_file.write(self._child.pid)

    async def _await_ready(self) -> Ready:
        limit_s = self._spec.manifest.startup_timeout_s
        await asyncio.wait((self._ready, self.exited), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            if self.exited.done():
                await asyncio.wait([reader.closed for reader in self._readers], timeout=1.0)
                raise SidecarStartFailed(self.exit_reason())
            hint = f" (last words: {self._last_words})" if self._last_words else ""
            raise SidecarStartFailed(f"did not get ready within {limit_s:g} s{hint}")
        ready = self._ready.result()
        if common_contract(ready.contract) is None:
            ours, theirs = ", ".join(map(str, CONTRACTS)), ", ".join(map(str, ready.contract)) or "none"
            text = f"speaks sidecar contract {theirs}, this Runner {ours}; upgrade the older of the two"
            raise SidecarStartFailed(text, code="incompatible")
        return ready

    def _stdout_left(self) -> int:
        return max(self._budget.left(), 0 if self._ready.done() else 1)

    def _on_stdout(self, line: bytes) -> None:
        ready = None if self._ready.done() else parse_ready(line)
        if ready is not None:
            self._ready.set_result(ready)
            return
        if self._ready.done() and is_event(line):
            self._on_event(line)
            return
        self._on_text(line, stderr=False)
        if not self._ready.done() and (refusal := parse_refusal(line)):
            self._last_words = self._spec.redact(refusal)[:LAST_WORDS_CHARS]

    def _on_event(self, line: bytes) -> None:
        if not self._events.take():
            self._unread += 1  # one more line nobody reads; the SDK has told its author before
            return
        name, now_ms = self._spec.manifest.name, self._clock.unix_ms()
        event = parse_event(line, plugin=name, now_unix_ms=now_ms, redact=self._spec.redact)
        if isinstance(event, PluginEvent):
            self._spec.on_event(event)
        elif self._budget.take():
            self._spec.on_log(JobLog("", LogLevel.WARNING, event, now_ms, name))

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
            self._last_words = log.text[:LAST_WORDS_CHARS]
        self._spec.on_log(log)

    def _close_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


async def start_sidecar(spec: SidecarSpec, clock: Clock) -> SidecarProcess:
    """Start one sidecar under a fresh token and wait until it is ready.

    Raises:
        SidecarStartFailed: It did not get ready; nothing of it is left.
        SecretUnavailable: A configured reference leads nowhere.
    """
    process = SidecarProcess(spec, secrets.token_hex(32), clock)
    await process.start()
    return process


def _same(reader: LineReader) -> LineReader:
    return reader


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
