"""Builds every part of a Runner from its configuration. They start in the order written and stop in reverse.

Tasks of a running Runner:

    executor.run       stores and starts jobs (+ one task per call under way)
    uplink.run         one session after another (+ its reader, + the beats offline)
    fleet              one supervisor per sidecar
    control            one task per local question
    data-dir           ends the Runner when its data directory is taken away
    outbox             no task: a writer thread, a reader thread, upkeep by timer
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version

from aisops_runner.adapters.host import HOOKS_GROUP, PluginHost
from aisops_runner.app.endpoint import read_endpoint, read_token
from aisops_runner.app.events import Events
from aisops_runner.app.foreign import foreign_sources
from aisops_runner.app.life import Parts, Runner
from aisops_runner.app.status import status_document
from aisops_runner.builtins.http_request import PLUGIN, HttpRequestAdapter
from aisops_runner.builtins.policy_file import load_policy
from aisops_runner.clock import Clock, SystemClock
from aisops_runner.config import RunnerConfig
from aisops_runner.control.server import Answerer, ControlServer
from aisops_runner.jobs.executor import Executor
from aisops_runner.logs import Redactor
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.room import bounds_for
from aisops_runner.sidecars.fleet import Fleet, FleetPorts
from aisops_runner.uplink.dialer import Dial, GrpcDialer
from aisops_runner.uplink.hello import Profile
from aisops_runner.uplink.pump import Uplink


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
    token = read_token(config)
    if token is not None:
        redactor.register(token.reveal())
    composition = _Composition(
        config=config,
        env=os.environ if env is None else env,
        clock=clock or SystemClock(),
        dial=dial or GrpcDialer(read_endpoint(config), lambda: read_token(config)),
        redactor=redactor,
        once=once,
    )
    return Runner(composition.start, data_dir=config.data_dir)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Composition:
    """How the parts are made and joined."""

    config: RunnerConfig
    env: Mapping[str, str]
    clock: Clock
    dial: Dial
    redactor: Redactor
    once: bool

    async def start(self, stack: AsyncExitStack) -> Parts:
        """Start the parts in order; the stack stops them in reverse."""
        config, clock = self.config, self.clock
        outbox = await Outbox.open(
            config.data_dir,
            bounds=bounds_for(config.data_dir),
            stamp=str(clock.unix_ms()),
            allow_network=config.allow_network_data_dir,
        )
        stack.push_async_callback(outbox.close)
        events = Events(outbox, clock)
        stack.push_async_callback(events.finish)
        host = self._host()
        executor = Executor(
            outbox,
            host,
            offered=_Offered(host),
            tenant_id=config.tenant_id,
            runner_id=config.runner_id,
            slots=config.job_slots,
            clock=clock,
        )
        profile = self._profile()
        uplink = Uplink(
            self.dial,
            outbox=outbox,
            jobs=executor,
            profile=profile,
            capabilities=host.capabilities,
            clock=clock,
            endpoint=config.core_endpoint,
            once=self.once,
        )
        fleet = self._fleet(host, executor, events, uplink)
        questions: dict[str, Answerer] = {
            "status": lambda: status_document(profile, uplink, outbox, executor, fleet),
            "outbox": lambda: outbox.report(clock.unix_ms()),
        }
        control = ControlServer(config.data_dir, questions)
        await control.start()
        stack.push_async_callback(control.stop)
        stack.push_async_callback(fleet.stop)
        await fleet.start()
        await executor.restore()
        return Parts(outbox, executor, uplink)

    def _host(self) -> PluginHost:
        config = self.config
        host = PluginHost(config.bindings, monotonic=self.clock.monotonic)
        host.load_hooks(config.hooks, list(entry_points(group=HOOKS_GROUP)))
        host.register(HttpRequestAdapter(load_policy(config.policy_file), version=runner_version()), name=PLUGIN)
        return host

    def _profile(self) -> Profile:
        config = self.config
        return Profile(
            tenant_id=config.tenant_id,
            runner_id=config.runner_id,
            version=runner_version(),
            labels=tuple(sorted(config.labels.items())),
            job_slots=config.job_slots,
        )

    def _fleet(self, host: PluginHost, executor: Executor, events: Events, uplink: Uplink) -> Fleet:
        config = self.config
        ports = FleetPorts(
            on_log=executor.log,
            on_event=events.put,
            on_change=uplink.announce,
            redact=lambda text: host.redact(self.redactor.text(text)),
            register_secret=self.redactor.register,
        )
        return Fleet(
            host,
            data_dir=config.data_dir,
            settings=config.plugins,
            env=self.env,
            clock=self.clock,
            ports=ports,
            describe_timeout_s=config.describe_timeout_s,
            dry_run=config.dry_run,
            foreign=foreign_sources(config),
        )


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
