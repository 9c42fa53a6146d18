"""What the commands share: the house's rules from the configuration, and the word to a running Runner."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click

from aisops_runner.adapters.discovery import Place, discover
from aisops_runner.adapters.index import Entry
from aisops_runner.adapters.inventory import Inventory
from aisops_runner.clock import SystemClock
from aisops_runner.config import RunnerConfig
from aisops_runner.control.client import RunnerNotRunning, tell
from aisops_runner.environments import registry
from aisops_runner.environments.commands import Commands, House
from aisops_runner.environments.layout import Layout
from aisops_runner.errors import RunnerError
from aisops_runner.sidecars.lines import CONTRACTS

SETTLE_S = 3.0  # for sidecars of an environment that is to be deleted


def layout_of(config: RunnerConfig) -> Layout:
    """Where the plugins of this Runner stand."""
    return Layout(config.data_dir / "plugins")


def inventory_of(config: RunnerConfig, folder: Path) -> Inventory:
    """The inventory of this Runner's plugins, with its index in some folder."""
    return Inventory(
        folder,
        env=os.environ,
        clock=SystemClock(),
        timeout_s=config.describe_timeout_s,
        elsewhere=partial(registry.elsewhere, config.data_dir / "plugins"),
    )


def commands_of(config: RunnerConfig, say: Callable[[str], None] = lambda _: None) -> Commands:
    """The commands, with this Runner's rules."""
    layout = layout_of(config)
    from aisops_runner.builtins.http_request import CAPABILITY, PLUGIN

    house = House(
        speaks=CONTRACTS,
        bindings=config.bindings,
        offers=lambda: {PLUGIN: [CAPABILITY], **_offers(config, layout)},
        reserved=frozenset({PLUGIN}),
        beside=partial(_beside, layout),
    )
    return Commands(
        layout,
        house,
        env=os.environ,
        clock=SystemClock(),
        describe_timeout_s=config.describe_timeout_s,
        say=say,
    )


def progress(*, quiet: bool) -> Callable[[str], None]:
    """Tells people each step; nothing where a program reads the answer."""
    if quiet:
        return lambda _: None
    return lambda step: click.echo(f"  {step} …", err=True)


def take_up(config: RunnerConfig, commands: Commands) -> tuple[str, str]:
    """Have a running Runner take up what was changed, then delete what nothing needs any more.

    Returns:
        `taken_up`, `not_running` or `not_taken_up`, and a sentence for people.
    """
    try:
        tell(config.data_dir, "reload")
    except RunnerNotRunning:
        commands.tidy()
        return "not_running", "No Runner is running on this data directory; the next start takes it up."
    except RunnerError as error:  # what it uses now must stay
        return "not_taken_up", f"The running Runner has not taken it up ({error.message}); its next start will."
    commands.tidy(wait_s=SETTLE_S)
    return "taken_up", "The running Runner has taken it up."


def enabled(entry: Entry, config: RunnerConfig, off: frozenset[str]) -> bool:
    """Whether neither the configuration nor a command has disabled a plugin."""
    settings = config.plugins.get(entry.installed.name)
    return (settings is None or settings.enabled) and entry.installed.name not in off


def _offers(config: RunnerConfig, layout: Layout) -> Mapping[str, Sequence[str]]:
    inventory = inventory_of(config, layout.plugins)
    entries = asyncio.run(inventory.current())
    off = inventory.discovery.off
    return {
        entry.installed.name: [spec.name for spec in entry.manifest.capabilities]
        for entry in entries
        if entry.manifest is not None and enabled(entry, config, off)
    }


def _beside(layout: Layout, name: str) -> Sequence[str]:
    """Packages that bring a plugin of this name beside the Runner, unless it is disabled there."""
    if Place.BESIDE in registry.read(layout).off.get(name, ()):
        return ()
    found = discover()
    single = [f"{one.distribution} {one.version}" for one in found.installed if one.name == name]
    return [*single, *(text for one in found.duplicates if one.name == name for text in one.distributions)]
