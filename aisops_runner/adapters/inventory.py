"""Brings the index up to date: asks every plugin that changed, or was broken last time, to describe itself again."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from aisops_runner.adapters.describe import describe, describe_argv
from aisops_runner.adapters.discovery import Discovery, Installed, discover, sdk_fingerprint
from aisops_runner.adapters.index import Entry, Index
from aisops_runner.clock import Clock
from aisops_runner.errors import PluginBroken

PARALLEL = 4

_log = structlog.get_logger("aisops_runner.inventory")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known already, what must be asked before the start, and what may be asked again meanwhile."""

    known: tuple[Entry, ...]
    unknown: tuple[Installed, ...]
    broken: tuple[Entry, ...]

    def without(self, names: Collection[str]) -> Plan:
        """The same without the plugins of these names."""
        return Plan(
            tuple(one for one in self.known if one.installed.name not in names),
            tuple(one for one in self.unknown if one.name not in names),
            tuple(one for one in self.broken if one.installed.name not in names),
        )


class Inventory:
    """The installed plugins with their manifests.

    Args:
        folder: Where `index.json` lives (DATA/plugins).
        env: The Runner's environment.
        clock: For timestamps.
        timeout_s: Seconds one plugin may take to describe itself.
    """

    def __init__(self, folder: Path, *, env: Mapping[str, str], clock: Clock, timeout_s: float) -> None:
        self._folder = folder
        self._env = env
        self._clock = clock
        self._timeout_s = timeout_s
        made_by = f"python {platform.python_version()} {sys.prefix} sdk {sdk_fingerprint()}"
        self._index = Index(folder / "index.json", made_by=made_by)
        self.discovery = Discovery(())

    def read(self) -> Plan:
        """List what is installed and compare it with the index. Runs no plugin code."""
        self.discovery = discover()
        self._index.load()
        found = [(installed, self._index.find(installed)) for installed in self.discovery.installed]
        return Plan(
            known=tuple(entry for _, entry in found if entry is not None and not entry.broken),
            unknown=tuple(installed for installed, entry in found if entry is None),
            broken=tuple(entry for _, entry in found if entry is not None and entry.broken),
        )

    async def current(self, only: str = "", *, without: Collection[str] = ()) -> list[Entry]:
        """The whole inventory now: what is known, and fresh descriptions of whatever is new or was broken.

        Args:
            only: Ask this plugin only; empty: all.
            without: Names that are left out.
        """
        plan = self.read().without(without)
        entries = list(plan.known)
        wanted = [*plan.unknown, *(entry.installed for entry in plan.broken)]
        await self.ask([found for found in wanted if only in ("", found.name)], entries.append)
        return entries

    async def ask(
        self, plugins: Iterable[Installed], on_entry: Callable[[Entry], None], *, timeout_s: float | None = None
    ) -> None:
        """Have plugins describe themselves, four at a time, and store what they say.

        Args:
            plugins: Whom to ask.
            on_entry: Told each answer as it comes, broken plugins included.
            timeout_s: Seconds one may take; by default what the inventory was made with.
        """
        patience_s = self._timeout_s if timeout_s is None else timeout_s
        gate = asyncio.Semaphore(PARALLEL)

        async def one(installed: Installed) -> None:
            async with gate:
                entry = await self._describe(installed, patience_s)
            self._index.put(entry)
            on_entry(entry)

        wanted = list(plugins)
        async with asyncio.TaskGroup() as group:
            for installed in wanted:
                group.create_task(one(installed))
        if wanted:
            self.save()

    def save(self) -> None:
        """Write the index; a folder that cannot be written costs the next start some time, nothing else."""
        self._index.keep_only({installed.name for installed in self.discovery.installed})
        try:
            self._index.save()
        except OSError as error:
            _log.warning("plugin index cannot be written", error=str(error))

    async def _describe(self, installed: Installed, timeout_s: float) -> Entry:
        now = self._clock.unix_ms()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            manifest = await describe(
                installed.name,
                timeout_s=timeout_s,
                env=self._env,
                cwd=self._folder,
                argv=describe_argv(installed.name, installed.python),
            )
        except PluginBroken as error:
            return Entry(installed, None, error.code, error.message, now)
        except OSError as error:
            return Entry(installed, None, "describe_failed", f"cannot be described: {error}", now)
        return Entry(installed, manifest, described_unix_ms=now)
