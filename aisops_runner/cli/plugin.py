"""`aisops-runner plugin`: what is installed, whether it is sound, and what it offers. No plugin code runs in here."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from aisops_runner.adapters.catalog import build_catalog
from aisops_runner.adapters.index import Entry
from aisops_runner.adapters.inventory import Inventory
from aisops_runner.app.foreign import foreign_sources
from aisops_runner.cli.lazy import Examples, ExamplesGroup
from aisops_runner.cli.main import common, read_config
from aisops_runner.cli.status import render_plugins
from aisops_runner.clock import SystemClock
from aisops_runner.config import RunnerConfig
from aisops_runner.control.client import RunnerNotRunning, ask
from aisops_runner.errors import PluginBroken
from aisops_runner.sidecars.fleet import DISABLED, PluginStatus
from aisops_runner.sidecars.foreign.found import Found, find
from aisops_runner.sidecars.proxy import capabilities_of
from aisops_runner.sidecars.restart import State

COMMANDS = {
    "list": ("aisops_runner.cli.plugin:list_plugins", "List the installed plugins, broken ones with their reason."),
    "describe": ("aisops_runner.cli.plugin:describe_plugin", "Print one plugin's manifest."),
}


@click.group(cls=ExamplesGroup, lazy=COMMANDS, epilog="aisops-runner plugin list\naisops-runner plugin describe slack")
def plugin() -> None:
    """List and describe the installed plugins."""


@click.command("list", cls=Examples, epilog="aisops-runner plugin list\naisops-runner plugin list --json")
@common
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_plugins(config_file: Path | None, *, as_json: bool) -> None:
    """List the installed plugins, broken ones with their reason.

    With a Runner at work on this data directory its own view is shown, process ids included.
    """
    config = read_config(config_file)
    try:
        running, rows = True, list(ask(config.data_dir, "status").get("plugins", []))
    except RunnerNotRunning:
        running, rows = False, [asdict(row) for row in asyncio.run(_installed(config))]
    if as_json:
        click.echo(
            json.dumps({"items": rows, "next_cursor": None, "runner_running": running}, ensure_ascii=False, indent=2)
        )
    else:
        click.echo(render_plugins(rows))
        if not running:
            click.echo("\nNo Runner is running on this data directory; states are those of a start.", err=True)
        if strangers := sorted(config.plugins.keys() - {row["name"] for row in rows}):
            click.echo(f"The configuration names plugins that are not installed: {', '.join(strangers)}.", err=True)


@click.command("describe", cls=Examples, epilog="aisops-runner plugin describe slack")
@common
@click.option("--json", "as_json", is_flag=True, help="On one line.")
@click.argument("name")
def describe_plugin(config_file: Path | None, name: str, *, as_json: bool) -> None:
    """Print the manifest of the plugin NAME: capabilities with their schemas, variables it reads, limits."""
    config = read_config(config_file)
    entry = asyncio.run(_one(config, name))
    if entry is None:
        raise PluginBroken(
            name, f"no plugin {name!r} is installed; see: aisops-runner plugin list", code="not_installed"
        )
    if entry.manifest is None:
        raise PluginBroken(name, f"plugin {name} is broken: {entry.reason}", code=entry.code)
    document = entry.manifest.to_document()
    if entry.foreign is not None:
        document |= {"kind": entry.kind.value, "place": entry.foreign.place, "notes": list(entry.foreign.notes)}
    click.echo(json.dumps(document, ensure_ascii=False, indent=None if as_json else 2))


async def _installed(config: RunnerConfig) -> list[PluginStatus]:
    with _folder(config) as folder:
        inventory = _inventory(config, folder)
        found = await _foreign(config, inventory)
        entries = [*await inventory.current(without=found.names), *found.entries]
    duplicates = [one for one in inventory.discovery.duplicates if one.name not in found.names]
    offers = {entry.installed.name: capabilities_of(entry.manifest) for entry in entries if entry.manifest}
    conflicts = build_catalog(offers, config.bindings).conflicts
    rows = [_row(entry, config) for entry in entries]
    rows = [_with_conflicts(row, [c.reason for c in conflicts if row.name in c.plugins]) for row in rows]
    rows += [
        PluginStatus(twice.name, "", State.BROKEN.value, reason=twice.reason)
        for twice in (*duplicates, *found.duplicates)
    ]
    return sorted(rows, key=lambda row: row.name)


async def _one(config: RunnerConfig, name: str) -> Entry | None:
    with _folder(config) as folder:
        inventory = _inventory(config, folder)
        found = await _foreign(config, inventory, only=name)
        entries = [*await inventory.current(only=name, without=found.names), *found.entries]
        return next((entry for entry in entries if entry.installed.name == name), None)


async def _foreign(config: RunnerConfig, inventory: Inventory, *, only: str = "") -> Found:
    """Those written for the original; their addresses are asked, and none of their programs is run."""
    inventory.read()
    packages = {one.name: one.distribution for one in inventory.discovery.installed}
    return await find(foreign_sources(config), env=os.environ, clock=SystemClock(), packages=packages, only=only)


def _row(entry: Entry, config: RunnerConfig) -> PluginStatus:
    found = entry.installed
    settings = config.plugins.get(found.name)
    state, reason = State.INSTALLED, ""
    if settings is not None and not settings.enabled:
        state, reason = State.DISABLED, DISABLED
    elif entry.manifest is None:
        state, reason = State.BROKEN, entry.reason
    names = tuple(spec.name for spec in entry.manifest.capabilities) if entry.manifest else ()
    return PluginStatus(
        found.name,
        found.version,
        state.value,
        capabilities=names,
        reason=reason,
        distribution=found.distribution,
        kind=entry.kind.value,
    )


def _with_conflicts(row: PluginStatus, reasons: list[str]) -> PluginStatus:
    facts: dict[str, Any] = asdict(row)
    return PluginStatus(**(facts | {"reason": row.reason or "; ".join(reasons)}))


def _inventory(config: RunnerConfig, folder: Path) -> Inventory:
    return Inventory(folder, env=os.environ, clock=SystemClock(), timeout_s=config.describe_timeout_s)


@contextmanager
def _folder(config: RunnerConfig) -> Iterator[Path]:
    """The Runner's own folder where there is one; else none is made only to list plugins."""
    if os.access(config.data_dir / "plugins", os.W_OK):
        yield config.data_dir / "plugins"
        return
    with TemporaryDirectory(prefix="aisops-") as temporary:
        yield Path(temporary)
