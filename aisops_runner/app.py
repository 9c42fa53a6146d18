"""The composition root: builds every part of the Runner, starts them in order, and stops them in reverse.

Tasks of a running Runner:

    executor.run       stores and starts jobs (+ one task per call under way)
    uplink.run         one session after another (+ its reader, + the beats offline)
    fleet              one supervisor per sidecar
    control            one task per local question
    data-dir           ends the Runner when its data directory is taken away
    outbox             no task: a writer thread, a reader thread, upkeep by timer
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

import structlog

from aisops_protocol.messages import Event
from aisops_runner.adapters.host import HOOKS_GROUP, PluginHost
from aisops_runner.builtins.http_request import PLUGIN, HttpRequestAdapter
from aisops_runner.builtins.policy_file import load_policy
from aisops_runner.clock import Clock, SystemClock
from aisops_runner.config import RunnerConfig
from aisops_runner.control.server import ControlServer
from aisops_runner.errors import ConfigInvalid, RunnerError, StorageFailed
from aisops_runner.identity.credentials import RunnerToken, load_token
from aisops_runner.jobs.executor import Executor
from aisops_runner.logs import Redactor
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.queue import Bounds
from aisops_runner.sidecars.fleet import Fleet, FleetPorts
from aisops_runner.uplink.dialer import Dial, Endpoint, GrpcDialer
from aisops_runner.uplink.hello import Profile
from aisops_runner.uplink.pump import Uplink

JOBS_S = 30.0
FLUSH_S = 10.0
OUTBOX_BYTES = 512 * 1024 * 1024
OUTBOX_SHARE = 0.1

_log = structlog.get_logger("aisops_runner.app")


def build(
    config: RunnerConfig,
    *,
    env: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    dial: Dial | None = None,
    redactor: Redactor | None = None,
    once: bool = False,
) -> Runner:
    """Make a Runner; nothing is started.

    Args:
        config: What it is told.
        env: The environment sidecars' values are taken from; the process's own by default.
        clock: Time; the system's by default.
        dial: Opens streams to Core; gRPC to `core_endpoint` by default.
        redactor: Takes secrets out of logs and of what sidecars write.
        once: End when Core refuses this Runner for good, instead of trying again slowly.

    Raises:
        ConfigInvalid: A file that the configuration names cannot be used.
    """
    redactor = redactor or Redactor()
    token = _token(config)
    if token is not None:
        redactor.register(token.reveal())
    return Runner(
        config,
        env=os.environ if env is None else env,
        clock=clock or SystemClock(),
        dial=dial or GrpcDialer(_endpoint(config), lambda: _token(config)),
        redactor=redactor,
        once=once,
    )


class Runner:
    """A whole Runner. `run` does everything; `stop` ends it in order."""

    def __init__(
        self,
        config: RunnerConfig,
        *,
        env: Mapping[str, str],
        clock: Clock,
        dial: Dial,
        redactor: Redactor,
        once: bool,
    ) -> None:
        self._config = config
        self._env = env
        self._clock = clock
        self._dial = dial
        self._redactor = redactor
        self._once = once
        self._stopping = asyncio.Event()
        self._halted = False
        self._main: asyncio.Task[Any] | None = None
        self._notes: set[asyncio.Task[None]] = set()
        self.ready = asyncio.Event()

    def stop(self) -> None:
        """Stop in order: finish jobs (30 s), flush the outbox (10 s), say goodbye. A second call stops at once."""
        if self._stopping.is_set() and self._main is not None:
            self._halted = True
            self._main.cancel()
        self._stopping.set()

    async def run(self, *, signals: bool = True) -> None:
        """Work until stopped.

        Args:
            signals: Let SIGTERM and SIGINT stop it.

        Raises:
            DataDirUnusable: The data directory cannot be used, or another Runner uses it.
            RefusedForGood: With `once`, when Core refuses.
            RunnerError: Stopped at once by a second signal (code `halted`).
        """
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        chosen = (signal.SIGTERM, signal.SIGINT) if signals else ()
        for number in chosen:
            loop.add_signal_handler(number, self.stop)
        try:
            async with AsyncExitStack() as stack:
                await self._run(stack)
        except asyncio.CancelledError:
            if not self._halted:
                raise
            raise RunnerError("stopped at once; the journal keeps what was under way", code="halted") from None
        finally:
            for number in chosen:
                loop.remove_signal_handler(number)

    async def _run(self, stack: AsyncExitStack) -> None:
        config, clock = self._config, self._clock
        outbox = await Outbox.open(config.data_dir, bounds=_bounds(config.data_dir), stamp=str(clock.unix_ms()))
        stack.push_async_callback(outbox.close)
        stack.push_async_callback(self._finish_notes)
        host = PluginHost(config.bindings, monotonic=clock.monotonic)
        host.load_hooks(config.hooks, list(entry_points(group=HOOKS_GROUP)))
        host.register(HttpRequestAdapter(load_policy(config.policy_file), version=runner_version()), name=PLUGIN)
        executor = Executor(
            outbox,
            host,
            offered=_Offered(host),
            tenant_id=config.tenant_id,
            runner_id=config.runner_id,
            slots=config.job_slots,
            clock=clock,
        )
        uplink = Uplink(
            self._dial,
            outbox=outbox,
            jobs=executor,
            profile=self._profile(),
            capabilities=host.capabilities,
            clock=clock,
            endpoint=config.core_endpoint,
            once=self._once,
        )
        fleet = self._fleet(host, executor, outbox, uplink)
        control = ControlServer(config.data_dir, {"status": lambda: _status(config, uplink, outbox, executor, fleet)})
        await control.start()
        stack.push_async_callback(control.stop)
        stack.push_async_callback(fleet.stop)
        await fleet.start()
        await executor.restore()
        watching = asyncio.create_task(self._stop_when_vanished(outbox), name="data-dir")
        try:
            await self._serve(executor, uplink)
        except ExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            watching.cancel()
        if outbox.vanished.is_set():
            raise StorageFailed(f"{config.data_dir} was removed while in use; start the Runner again")

    async def _stop_when_vanished(self, outbox: Outbox) -> None:
        """Without its file nothing this Runner promises would survive it: finish what is held, and end."""
        await outbox.vanished.wait()
        self._stopping.set()

    async def _serve(self, executor: Executor, uplink: Uplink) -> None:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(executor.run(), name="executor")
            connected = group.create_task(uplink.run(), name="uplink")
            self.ready.set()
            await self._stopping.wait()
            _log.info("stopping: finishing jobs, then the outbox")
            unfinished = await executor.drain(JOBS_S)
            if not await uplink.flush(FLUSH_S):
                _log.warning("not everything has reached Core; it is kept and sent after the next start")
            uplink.goodbye("stopped", unfinished)
            await connected
            working.cancel()

    def _profile(self) -> Profile:
        config = self._config
        return Profile(
            tenant_id=config.tenant_id,
            runner_id=config.runner_id,
            version=runner_version(),
            labels=tuple(sorted(config.labels.items())),
            job_slots=config.job_slots,
        )

    def _fleet(self, host: PluginHost, executor: Executor, outbox: Outbox, uplink: Uplink) -> Fleet:
        config = self._config

        def on_event(kind: str, facts: Mapping[str, str]) -> None:
            data = json.dumps(dict(facts), ensure_ascii=False).encode()
            self._note(outbox.put(Event(kind, self._clock.unix_ms(), data)))

        ports = FleetPorts(
            on_log=executor.log,
            on_event=on_event,
            on_change=uplink.announce,
            redact=lambda text: host.redact(self._redactor.text(text)),
            register_secret=self._redactor.register,
        )
        return Fleet(
            host,
            data_dir=config.data_dir,
            settings=config.plugins,
            env=self._env,
            clock=self._clock,
            ports=ports,
            describe_timeout_s=config.describe_timeout_s,
            dry_run=config.dry_run,
        )

    def _note(self, work: Coroutine[Any, Any, None]) -> None:
        """Put something into the outbox from where nobody can wait."""
        task = asyncio.ensure_future(_logged(work))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _finish_notes(self) -> None:
        await asyncio.gather(*self._notes)


class _Offered:
    """The names of the capabilities on offer now, asked at every job."""

    def __init__(self, host: PluginHost) -> None:
        self._host = host

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._host.capability(name) is not None


def runner_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("aisops-runner")
    except PackageNotFoundError:
        return "0+unknown"


async def _status(
    config: RunnerConfig, uplink: Uplink, outbox: Outbox, executor: Executor, fleet: Fleet
) -> dict[str, Any]:
    core = asdict(uplink.status) | {"state": uplink.status.state.value}
    return {
        "runner_id": config.runner_id,
        "tenant_id": config.tenant_id,
        "version": runner_version(),
        "pid": os.getpid(),
        "core": core,
        "outbox": asdict(outbox.stats) | {"last_seq": outbox.last_seq, "acked_seq": outbox.acked_seq},
        "jobs": executor.status(),
        "plugins": [asdict(one) for one in fleet.status()],
    }


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except RunnerError as error:
        _log.warning("an event could not be stored", error=error.message)


def _token(config: RunnerConfig) -> RunnerToken | None:
    if config.token_file is not None:
        return load_token(config.token_file)
    return RunnerToken(config.token.get_secret_value()) if config.token is not None else None


def _endpoint(config: RunnerConfig) -> Endpoint:
    return Endpoint(
        host=config.core_host,
        port=config.core_port,
        plaintext=config.plaintext,
        allow_plaintext=config.allow_plaintext,
        ca=_pem(config.tls_ca, "tls_ca"),
        certificate=_pem(config.tls_cert, "tls_cert"),
        key=_pem(config.tls_key, "tls_key"),
        proxy=config.proxy.get_secret_value() if config.proxy is not None else "",
        no_proxy=config.no_proxy,
    )


def _pem(path: Path | None, key: str) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"cannot read the file: {error.strerror}", key=key, source=str(path)) from None


def _bounds(data_dir: Path) -> Bounds:
    """At most 512 MiB and at most a tenth of the disk."""
    with contextlib.suppress(OSError):
        existing = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
        return Bounds(max_bytes=min(OUTBOX_BYTES, int(shutil.disk_usage(existing).total * OUTBOX_SHARE)))
    return Bounds(max_bytes=OUTBOX_BYTES)


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """The error behind a group of one: what the callers know how to show."""
    found: Exception = errors
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
