"""All plugins of this Runner: found, described, registered in the host, kept by one supervisor each, and shown."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.calls import JobLog
from aisops_runner.adapters.describe import environment_of
from aisops_runner.adapters.discovery import Installed
from aisops_runner.adapters.host import PluginHost
from aisops_runner.adapters.index import Entry
from aisops_runner.adapters.inventory import Inventory, Plan
from aisops_runner.clock import Clock
from aisops_runner.environments import registry
from aisops_runner.environments.layout import Layout
from aisops_runner.errors import RegistryDamaged
from aisops_runner.sidecars import asking
from aisops_runner.sidecars.environment import unlisted
from aisops_runner.sidecars.inbound import Keep
from aisops_runner.sidecars.lines import PluginEvent
from aisops_runner.sidecars.logbook import Logbook
from aisops_runner.sidecars.process import SidecarSpec, serve_argv
from aisops_runner.sidecars.restart import State
from aisops_runner.sidecars.roster import Roster
from aisops_runner.sidecars.runfile import RunFile, sweep
from aisops_runner.sidecars.settings import DefaultSettings, PluginSettings, supervisor_settings, told
from aisops_runner.sidecars.status import DISABLED, PluginStatus, switched_off
from aisops_runner.sidecars.supervisor import Supervisor
from aisops_runner.sidecars.turnover import turnover

ASKING = "describe-again"

_log = structlog.get_logger("aisops_runner.fleet")


@dataclass(frozen=True, slots=True)
class FleetPorts:
    """Whom the fleet tells what.

    Attributes:
        on_log: Every log line of a sidecar, already redacted.
        on_event: Something for the audit trail: kind and facts.
        on_plugin_event: Something a plugin wants Core to know.
        on_inbound: Stores what a provider sent to a plugin's webhook.
        on_change: The set of capabilities changed after `start` had returned.
        redact: Takes secrets out of a text.
        register_secret: Told every secret value that a sidecar gets.
    """

    on_log: Callable[[JobLog], None]
    on_event: Callable[[str, Mapping[str, str]], None]
    on_change: Callable[[], None]
    redact: Callable[[str], str]
    register_secret: Callable[[str], None]
    on_plugin_event: Callable[[PluginEvent], None] = lambda _event: None
    on_inbound: Keep | None = None


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
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._host = host
        self._folder = data_dir / "plugins"
        self._settings = settings
        self._env = env
        self._clock = clock
        self._ports = ports
        self._dry_run = dry_run
        self._draw = draw
        self._describe_timeout_s, self._ask_again_s = describe_timeout_s, ask_again_s
        self._inventory = Inventory(
            self._folder,
            env=env,
            clock=clock,
            timeout_s=describe_timeout_s,
            elsewhere=partial(registry.elsewhere, self._folder),
        )
        self._entries: dict[str, Entry] = {}
        self._roster = Roster(host)
        self._logbook = Logbook(Layout(self._folder).logs)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()

    async def start(self) -> None:
        """End what an earlier Runner left, find the plugins, register the usable ones, start those to be prewarmed.

        Waits for plugins never seen before to describe themselves; those known to be broken are asked again on the
        side, so that one that hangs does not delay every start. So are those that only did not answer in time.
        """
        await asyncio.to_thread(sweep, self._folder / "run")
        async with self._reloading:  # the control socket answers already
            try:
                plan = self._inventory.read()
            except RegistryDamaged as error:
                _log.error("plugins in environments of their own are not used", code=error.code, reason=error.message)
                plan = self._inventory.read(beside_only=True)
            for entry in (*plan.known, *plan.broken, *self._unasked(plan)):
                self._take(entry)
            await self._inventory.ask([one for one in plan.unknown if self._enabled(one.name)], self._take)
        broken = [entry.installed for entry in plan.broken if self._enabled(entry.installed.name)]
        if broken or self._silent():
            self._spawn(self._ask_again(broken), ASKING)
        self._tell_refusals()

    async def reload(self) -> dict[str, Any]:
        """Take up what was installed, switched, enabled, disabled or removed since; jobs under way are finished.

        Returns:
            Names of the plugins that were `added`, `changed` and `removed`.

        Raises:
            RegistryDamaged: What is installed cannot be said; everything goes on as it was.
        """
        async with self._reloading:
            entries = {entry.installed.name: entry for entry in await self._described(self._inventory.read())}
            usable = {name: entry for name, entry in entries.items() if not entry.broken and self._enabled(name)}
            serving = {name: self._entries[name].installed for name in self._roster}
            turn = turnover(serving, {name: entry.installed for name, entry in usable.items()})
            for name in turn.removed:
                self._roster.relieve(name)
            news = [entry for name, entry in entries.items() if entry.broken and self._entries.get(name) != entry]
            self._entries = entries
            for entry in (*news, *(entries[name] for name in (*turn.added, *turn.changed))):
                self._take(entry)
            self._tell_refusals()
        if self._silent() and not any(task.get_name() == ASKING for task in self._tasks):
            self._spawn(self._ask_again([]), ASKING)
        for change, names in asdict(turn).items():
            for name in names:
                version = entries[name].installed.version if name in entries else ""
                _log.info("plugin taken up", plugin=name, change=change, version=version)
                self._ports.on_event(f"plugin.{change}", {"plugin": name, "version": version})
        if turn.added or turn.changed or turn.removed:
            self._ports.on_change()
        return asdict(turn)

    async def stop(self) -> None:
        """Drain and end every sidecar, all at once; none is left when this returns."""
        for task in tuple(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._roster.stop()
        await asyncio.to_thread(self._logbook.stop)

    def status(self) -> list[PluginStatus]:
        """Every installed plugin, sorted by name: running, idle, broken, disabled or refused."""
        rows = [self._row(entry) for entry in self._entries.values()]
        rows += [
            PluginStatus(duplicate.name, "", State.BROKEN.value, reason=duplicate.reason)
            for duplicate in self._inventory.discovery.duplicates
        ]
        return sorted(rows, key=lambda row: row.name)

    async def _described(self, plan: Plan) -> list[Entry]:
        """What is known of each plugin of a plan, once those never seen before have been asked."""
        found = [*plan.known, *plan.broken, *self._unasked(plan)]
        await self._inventory.ask([one for one in plan.unknown if self._enabled(one.name)], found.append)
        return found

    def _unasked(self, plan: Plan) -> list[Entry]:
        """Disabled plugins of which nothing is known; no code of theirs is run to change that."""
        silent = [one for one in plan.unknown if not self._enabled(one.name)]
        return [Entry(one, None, "disabled", DISABLED) for one in silent]

    def _tell_refusals(self) -> None:
        for duplicate in self._inventory.discovery.duplicates:
            _log.error("plugin refused", plugin=duplicate.name, reason=duplicate.reason)
        for conflict in self._host.conflicts():
            _log.error("capability refused", capability=conflict.capability, reason=conflict.reason)

    def _row(self, entry: Entry) -> PluginStatus:
        name, version = entry.installed.name, entry.installed.version
        supervisor = self._roster.find(name)
        if supervisor is not None:
            state, reason = supervisor.state, self._ports.redact(supervisor.reason)
        elif not self._enabled(name):
            state = State.DISABLED
            reason = switched_off(name) if name in self._inventory.discovery.off else DISABLED
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
            place=entry.installed.place.value,
        )

    def _enabled(self, name: str) -> bool:
        on = (self._settings.get(name) or DefaultSettings()).enabled
        return on and name not in self._inventory.discovery.off

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
        supervisor = self._supervise(entry.installed, entry.manifest, settings)
        self._roster.appoint(name, entry.manifest, supervisor)
        if settings.prewarm or settings.inbound:
            self._spawn(supervisor.start(), f"prewarm-{name}")

    def _take_again(self, entry: Entry) -> None:
        """A plugin that was broken at the start answered again."""
        was = self._entries.get(entry.installed.name)
        if was is None or was.installed != entry.installed or self._roster.find(entry.installed.name) is not None:
            return  # the plugins were changed meanwhile
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
            if not self._silent():
                return
            await asyncio.sleep(asking.pause_s(times, first_s=self._ask_again_s))
            patience_s = asking.patience_s(self._describe_timeout_s, times)
            await self._inventory.ask(self._silent(), self._take_again, timeout_s=patience_s)

    def _silent(self) -> list[Installed]:
        """Plugins of which nothing is known but that they did not answer."""
        entries = self._entries.values()
        return [one.installed for one in entries if self._enabled(one.installed.name) and asking.may_pass(one.code)]

    def _supervise(self, installed: Installed, manifest: Manifest, settings: PluginSettings) -> Supervisor:
        home = self._folder / "home" / manifest.name
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        spec = SidecarSpec(
            manifest=manifest,
            argv=serve_argv(manifest.name, installed.python),
            runner_env=environment_of(installed, self._env),
            configured=settings.env,
            run_file=RunFile(self._folder / "run" / f"{_run_name(installed)}.json"),
            cwd=home,
            dry_run=self._dry_run,
            on_log=self._on_log,
            redact=self._ports.redact,
            register_secret=self._ports.register_secret,
            told=told(settings),
            on_event=self._ports.on_plugin_event,
            on_inbound=self._ports.on_inbound,
        )
        return Supervisor(
            spec,
            supervisor_settings(manifest, settings),
            clock=self._clock,
            draw=self._draw,
            on_state=self._on_state,
        )

    def _on_log(self, line: JobLog) -> None:
        self._logbook.put(line)
        self._ports.on_log(line)

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


def _run_name(installed: Installed) -> str:
    """What the record of a running sidecar is called: two versions of one plugin may run, each has its own.

    For a plugin in an environment of its own it is the environment's id: whoever deletes environments looks there.
    """
    return Path(installed.python).parents[2].name if installed.python else installed.name
