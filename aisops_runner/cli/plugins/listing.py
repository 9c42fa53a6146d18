"""`aisops-runner plugin list` and `describe`: what is installed, whether it is sound, and what it offers."""

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
from aisops_runner.cli.lazy import Examples
from aisops_runner.cli.main import common, read_config
from aisops_runner.cli.plugins.house import enabled, inventory_of
from aisops_runner.cli.status import render_plugins
from aisops_runner.config import RunnerConfig
from aisops_runner.control.client import RunnerNotRunning, ask
from aisops_runner.errors import PluginBroken
from aisops_runner.sidecars.proxy import capabilities_of
from aisops_runner.sidecars.restart import State
from aisops_runner.sidecars.status import DISABLED, PluginStatus, switched_off


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
    click.echo(json.dumps(entry.manifest.to_document(), ensure_ascii=False, indent=None if as_json else 2))


async def _installed(config: RunnerConfig) -> list[PluginStatus]:
    with _folder(config) as folder:
        inventory = inventory_of(config, folder)
        entries = await inventory.current()
    off = inventory.discovery.off
    usable = [entry for entry in entries if enabled(entry, config, off)]
    offers = {entry.installed.name: capabilities_of(entry.manifest) for entry in usable if entry.manifest}
    conflicts = build_catalog(offers, config.bindings).conflicts
    rows = [_row(entry, config, off) for entry in entries]
    rows = [_with_conflicts(row, [c.reason for c in conflicts if row.name in c.plugins]) for row in rows]
    rows += [
        PluginStatus(twice.name, "", State.BROKEN.value, reason=twice.reason)
        for twice in inventory.discovery.duplicates
    ]
    return sorted(rows, key=lambda row: row.name)


async def _one(config: RunnerConfig, name: str) -> Entry | None:
    with _folder(config) as folder:
        inventory = inventory_of(config, folder)
        return next((entry for entry in await inventory.current(only=name) if entry.installed.name == name), None)


def _row(entry: Entry, config: RunnerConfig, off: frozenset[str]) -> PluginStatus:
    found = entry.installed
    state, reason = State.INSTALLED, ""
    if not enabled(entry, config, off):
        state, reason = State.DISABLED, switched_off(found.name) if found.name in off else DISABLED
    elif entry.manifest is None:
        state, reason = State.BROKEN, entry.reason
    names = tuple(spec.name for spec in entry.manifest.capabilities) if entry.manifest else ()
    return PluginStatus(
        name=found.name,
        version=found.version,
        state=state.value,
        capabilities=names,
        reason=reason,
        distribution=found.distribution,
        place=found.place.value,
    )


def _with_conflicts(row: PluginStatus, reasons: list[str]) -> PluginStatus:
    facts: dict[str, Any] = asdict(row)
    return PluginStatus(**(facts | {"reason": row.reason or "; ".join(reasons)}))


@contextmanager
def _folder(config: RunnerConfig) -> Iterator[Path]:
    """The Runner's own folder where there is one; else none is made only to list plugins."""
    if os.access(config.data_dir / "plugins", os.W_OK):
        yield config.data_dir / "plugins"
        return
    with TemporaryDirectory(prefix="aisops-") as temporary:
        yield Path(temporary)
