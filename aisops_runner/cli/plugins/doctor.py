"""`aisops-runner plugin doctor`: is each plugin in order, and what is to be done about those that are not?"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.describe import describe, describe_argv, environment_of
from aisops_runner.adapters.discovery import Installed
from aisops_runner.cli.failure import FAILED
from aisops_runner.cli.lazy import Examples
from aisops_runner.cli.main import common, read_config
from aisops_runner.cli.plugins.changing import json_option
from aisops_runner.cli.plugins.house import inventory_of, layout_of
from aisops_runner.cli.table import render
from aisops_runner.config import RunnerConfig
from aisops_runner.control.client import RunnerNotRunning, ask
from aisops_runner.environments import registry
from aisops_runner.environments.doctor import Finding, examine
from aisops_runner.environments.repair import repair as mend
from aisops_runner.errors import PluginBroken, PluginRefused, SecretUnavailable
from aisops_runner.sidecars.environment import resolve
from aisops_runner.sidecars.restart import State

BAD = frozenset({State.BACKOFF, State.QUARANTINED, State.INCOMPATIBLE, State.BROKEN, State.DEGRADED})
EXAMPLES = """
aisops-runner plugin doctor
aisops-runner plugin doctor slack --json
aisops-runner plugin doctor --repair
"""


@click.command(cls=Examples, epilog=EXAMPLES)
@common
@json_option
@click.option("--repair", is_flag=True, help="Make a damaged installed.json again from the environments on the disk.")
@click.argument("name", required=False)
def doctor(config_file: Path | None, name: str | None, *, as_json: bool, repair: bool) -> int:
    """Check every plugin, or NAME: its files, its Python, what it says of itself, its variables, its state.

    Exit code 1 when something is not in order.
    """
    config = read_config(config_file)
    if repair:
        _repair(config)
    findings = list(_findings(config, name or ""))
    if name and not findings:
        raise PluginRefused(
            name, f"no plugin {name!r} is installed; see: aisops-runner plugin list", code="not_installed"
        )
    if as_json:
        click.echo(json.dumps({"items": [asdict(one) for one in findings], "next_cursor": None}, ensure_ascii=False))
    elif findings:
        rows = [[one.plugin, one.check, "ok" if one.ok else "not ok", one.text] for one in findings]
        click.echo(render(["PLUGIN", "CHECK", "RESULT", "WHAT TO KNOW"], rows))
    else:
        click.echo("No plugins are installed.")
    return 0 if all(one.ok for one in findings) else FAILED


def _repair(config: RunnerConfig) -> None:
    shelf = mend(layout_of(config))
    if shelf is None:
        click.echo("installed.json is in order; nothing was changed.", err=True)
        return
    click.echo(f"installed.json was made again; disabled until you enable them: {', '.join(shelf.holdings)}", err=True)


def _findings(config: RunnerConfig, only: str) -> Iterator[Finding]:
    layout = layout_of(config)
    shelf = registry.read(layout)
    inventory = inventory_of(config, layout.plugins)
    inventory.read()
    running = _running(config)
    for twice in inventory.discovery.duplicates:
        if only in ("", twice.name):
            yield Finding(twice.name, "name", ok=False, text=twice.reason)
    for installed in inventory.discovery.installed:
        name = installed.name
        if only not in ("", name):
            continue
        if installed.python:
            yield from examine(layout, shelf.holdings[name].now)
        settings = config.plugins.get(name)
        if name in inventory.discovery.off or (settings is not None and not settings.enabled):
            yield Finding(name, "state", ok=True, text="disabled; nothing of it is run")
            continue
        manifest, finding = _described(config, installed, layout.plugins)
        yield finding
        if manifest is not None:
            yield _variables(config, manifest)
        yield _state(name, running)


def _described(config: RunnerConfig, installed: Installed, folder: Path) -> tuple[Manifest | None, Finding]:
    """Have the plugin describe itself anew, in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    work = describe(
        installed.name,
        timeout_s=config.describe_timeout_s,
        env=environment_of(installed, os.environ),
        cwd=folder,
        argv=describe_argv(installed.name, installed.python),
    )
    try:
        manifest = asyncio.run(work)
    except PluginBroken as error:
        text = f"{error.message}; look at: aisops-runner plugin logs {installed.name}"
        if installed.python:
            text += f", or go back: aisops-runner plugin rollback {installed.name}"
        return None, Finding(installed.name, "describes", ok=False, text=text)
    return manifest, Finding(installed.name, "describes", ok=True, text=f"version {manifest.version}")


def _variables(config: RunnerConfig, manifest: Manifest) -> Finding:
    """Whether everything it requires is set, and every reference leads somewhere. No value is shown."""
    settings = config.plugins.get(manifest.name)
    configured: Mapping[str, str] = settings.env if settings is not None else {}
    faults: list[str] = []
    for spec in manifest.env:
        if spec.name in configured:
            try:
                resolve(spec.name, configured[spec.name], os.environ)
            except SecretUnavailable as error:
                faults.append(error.message)
        elif spec.required and spec.name not in os.environ:
            faults.append(f"{spec.name} is not set; set it under [plugins.{manifest.name}.env]")
    unknown = sorted(configured.keys() - {spec.name for spec in manifest.env})
    faults += [f"{name} is set and the plugin does not ask for it" for name in unknown]
    return Finding(manifest.name, "variables", not faults, "; ".join(faults))


def _state(name: str, running: Mapping[str, Mapping[str, Any]] | None) -> Finding:
    if running is None:
        return Finding(name, "state", ok=True, text="no Runner is running on this data directory")
    row = running.get(name)
    if row is None:
        return Finding(name, "state", ok=False, text="the running Runner does not know it; start it again")
    text = f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])
    return Finding(name, "state", ok=row["state"] not in BAD and not row["reason"], text=text)


def _running(config: RunnerConfig) -> Mapping[str, Mapping[str, Any]] | None:
    try:
        rows: Sequence[Mapping[str, Any]] = ask(config.data_dir, "status").get("plugins", [])
    except RunnerNotRunning:
        return None
    return {str(row["name"]): row for row in rows}
