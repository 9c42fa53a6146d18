"""All plugins of this Runner: found, described, registered in the host, kept by one supervisor each, and shown."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.calls import JobLog
from aisops_runner.adapters.discovery import Duplicate, Installed
from aisops_runner.adapters.host import PluginHost
from aisops_runner.adapters.index import Entry
from aisops_runner.adapters.inventory import Inventory
from aisops_runner.adapters.kinds import Kind
from aisops_runner.clock import Clock
from aisops_runner.sidecars import asking
from aisops_runner.sidecars.environment import unlisted
from aisops_runner.sidecars.foreign.found import ForeignSources, Found, Place, find, find_place
from aisops_runner.sidecars.proxy import SidecarProxy
from aisops_runner.sidecars.restart import State
from aisops_runner.sidecars.runfile import sweep
from aisops_runner.sidecars.settings import DefaultSettings, PluginSettings, supervisor_settings
from aisops_runner.sidecars.specs import Ground, spec_of
from aisops_runner.sidecars.supervisor import Supervisor

DISABLED = "disabled in the configuration"

_log = structlog.get_logger("aisops_runner.fleet")


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """One plugin as people see it; `reason` says why, whenever the state is not a plain good one."""

    name: str
    version: str
    state: str
    pid: int = 0
    restarts: int = 0
    capabilities: tuple[str, ...] = ()
    reason: str = ""
    distribution: str = ""
    in_flight: int = 0
    kind: str = Kind.PACKAGE.value


@dataclass(frozen=True, slots=True)
class FleetPorts:
    """Whom the fleet tells what.

    Attributes:
        on_log: Every log line of a sidecar, already redacted.
        on_event: Something for the audit trail: kind and facts.
        on_change: The set of capabilities changed after `start` had returned.
        redact: Takes secrets out of a text.
        register_secret: Told every secret value that a sidecar gets.
    """

    on_log: Callable[[JobLog], None]
    on_event: Callable[[str, Mapping[str, str]], None]
    on_change: Callable[[], None]
    redact: Callable[[str], str]
    register_secret: Callable[[str], None]


class Fleet:
    """The plugins of one Runner.

    Args:
        host: Where each usable plugin is registered.
        data_dir: The Runner's data folder; `plugins/` in it is the fleet's.
        settings: The operator's settings by plugin name.
        env: The Runner's environment.
        clock: Time.
        ports: Whom to tell what.
        describe_timeout_s: Seconds a plugin may take to describe itself, at first.
        ask_again_s: Seconds until one that did not answer is asked again for the first time.
        dry_run: Sidecars are told that nothing may leave.
        foreign: Where plugins written for the original are.
        draw: Random numbers in [0, 1) for back-off.
    """

    def __init__(
        self,
        host: PluginHost,
        *,
        data_dir: Path,
        settings: Mapping[str, PluginSettings],
        env: Mapping[str, str],
        clock: Clock,
        ports: FleetPorts,
        describe_timeout_s: float = 10.0,
        ask_again_s: float = asking.FIRST_S,
        dry_run: bool = False,
        foreign: ForeignSources | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._host = host
        self._folder = data_dir / "plugins"
        self._settings = settings
        self._env = env
        self._clock = clock
        self._ports = ports
        self._ground = Ground(self._folder, env, dry_run, ports.on_log, ports.redact, ports.register_secret)
        self._foreign = foreign or ForeignSources()
        self._found = Found()
        self._draw = draw
        self._describe_timeout_s, self._ask_again_s = describe_timeout_s, ask_again_s
        self._inventory = Inventory(self._folder, env=env, clock=clock, timeout_s=describe_timeout_s)
        self._entries: dict[str, Entry] = {}
        self._supervisors: dict[str, Supervisor] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """End what an earlier Runner left, find the plugins, register the usable ones, start those to be prewarmed.

        Waits for plugins never seen before to describe themselves; those known to be broken are asked again on the
        side, so that one that hangs does not delay every start. So are those that only did not answer in time.
        """
        await asyncio.to_thread(sweep, self._folder / "run")
        plan = self._inventory.read()
        packages = {one.name: one.distribution for one in self._inventory.discovery.installed}
        self._found = await find(self._foreign, env=self._env, clock=self._clock, packages=packages)
        plan = plan.without(self._found.names)
        for entry in (*plan.known, *plan.broken, *self._found.entries):
            self._take(entry)
        for installed in plan.unknown:
            if not self._enabled(installed.name):
                self._take(Entry(installed, None, "disabled", DISABLED))  # no code of a disabled plugin is run
        await self._inventory.ask([found for found in plan.unknown if self._enabled(found.name)], self._take)
        broken = [entry.installed for entry in plan.broken if self._enabled(entry.installed.name)]
        if broken or self._silent() or self._silent_places():
            self._spawn(self._ask_again(broken), "describe-again")
        for duplicate in self._duplicates():
            _log.error("plugin refused", plugin=duplicate.name, reason=duplicate.reason)
        for conflict in self._host.conflicts():
            _log.error("capability refused", capability=conflict.capability, reason=conflict.reason)

    async def stop(self) -> None:
        """Drain and end every sidecar, all at once; none is left when this returns."""
        for task in tuple(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(supervisor.stop() for supervisor in self._supervisors.values()))

    def status(self) -> list[PluginStatus]:
        """Every installed plugin, sorted by name: running, idle, broken, disabled or refused."""
        rows = [self._row(entry) for entry in self._entries.values()]
        rows += [
            PluginStatus(duplicate.name, "", State.BROKEN.value, reason=duplicate.reason)
            for duplicate in self._duplicates()
        ]
        return sorted(rows, key=lambda row: row.name)

    def _duplicates(self) -> tuple[Duplicate, ...]:
        installed = self._inventory.discovery.duplicates
        return (*(one for one in installed if one.name not in self._found.names), *self._found.duplicates)

    def _row(self, entry: Entry) -> PluginStatus:
        name, version = entry.installed.name, entry.installed.version
        supervisor = self._supervisors.get(name)
        if supervisor is not None:
            state, reason = supervisor.state, self._ports.redact(supervisor.reason)
        elif not self._enabled(name):
            state, reason = State.DISABLED, DISABLED
        else:
            state, reason = State.BROKEN, entry.reason
        return PluginStatus(
            name=name,
            version=version,
            state=state.value,
            pid=supervisor.pid if supervisor else 0,
            restarts=supervisor.restarts if supervisor else 0,
            capabilities=tuple(spec.name for spec in entry.manifest.capabilities) if entry.manifest else (),
            reason=reason or self._conflict_reason(name),
            distribution=entry.installed.distribution,
            in_flight=supervisor.in_flight if supervisor else 0,
            kind=entry.kind.value,
        )

    def _enabled(self, name: str) -> bool:
        return (self._settings.get(name) or DefaultSettings()).enabled

    def _conflict_reason(self, name: str) -> str:
        return "; ".join(conflict.reason for conflict in self._host.conflicts() if name in conflict.plugins)

    def _take(self, entry: Entry) -> None:
        """Use one description: register the plugin, or note why not."""
        name = entry.installed.name
        self._entries[name] = entry
        if not self._enabled(name):
            return
        if entry.manifest is None:
            _log.error("plugin is broken", plugin=name, code=entry.code, reason=entry.reason)
            self._ports.on_event("plugin.broken", {"plugin": name, "code": entry.code, "reason": entry.reason})
            return
        settings = self._settings.get(name) or DefaultSettings()
        if extra := unlisted(entry.manifest, settings.env):
            _log.warning("variables that the plugin does not ask for are not passed on", plugin=name, names=extra)
        for note in entry.foreign.notes if entry.foreign else ():
            _log.warning("something in the manifest is passed over", plugin=name, note=note)
        supervisor = self._supervise(entry, entry.manifest, settings)
        self._supervisors[name] = supervisor
        self._host.register(SidecarProxy(entry.manifest, supervisor), name=name)
        if supervisor.prewarm:
            self._spawn(supervisor.start(), f"prewarm-{name}")

    def _take_again(self, entry: Entry) -> None:
        """A plugin that was broken at the start answered again."""
        was = self._entries[entry.installed.name]
        if entry.broken and (was.code, was.reason) == (entry.code, entry.reason):
            return
        self._take(entry)
        if not entry.broken:
            self._ports.on_change()

    async def _ask_again(self, broken: list[Installed]) -> None:
        """Ask those that were broken at an earlier start once, and then whoever may only have been too slow."""
        if broken:
            await self._inventory.ask(broken, self._take_again)
        for times in itertools.count():
            if not self._silent() and not self._silent_places():
                return
            await asyncio.sleep(asking.pause_s(times, first_s=self._ask_again_s))
            for place in self._silent_places():
                self._take_again(await find_place(place, self._clock))
            patience_s = asking.patience_s(self._describe_timeout_s, times)
            await self._inventory.ask(self._silent(), self._take_again, timeout_s=patience_s)

    def _silent(self) -> list[Installed]:
        """Plugins of which nothing is known but that they did not answer."""
        return [one.installed for one in self._may_pass() if one.foreign is None]

    def _silent_places(self) -> list[Place]:
        """Addresses that did not answer, and of which nothing else is known."""
        names = {one.installed.name for one in self._may_pass() if one.foreign is not None}
        return [place for place in self._foreign.places if place.name in names]

    def _may_pass(self) -> list[Entry]:
        entries = self._entries.values()
        return [one for one in entries if self._enabled(one.installed.name) and asking.may_pass(one.code)]

    def _supervise(self, entry: Entry, manifest: Manifest, settings: PluginSettings) -> Supervisor:
        return Supervisor(
            spec_of(entry, manifest, settings.env, self._ground),
            supervisor_settings(manifest, settings, entry.foreign),
            clock=self._clock,
            draw=self._draw,
            on_state=self._on_state,
        )

    def _on_state(self, name: str, state: State, reason: str) -> None:
        reason = self._ports.redact(reason)
        bad = state in (State.BACKOFF, State.QUARANTINED, State.INCOMPATIBLE)
        _log.log(30 if bad else 20, "sidecar state", plugin=name, state=state.value, reason=reason)
        if bad:
            self._ports.on_event(f"sidecar.{state.value}", {"plugin": name, "reason": reason})

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
