"""`aisops-runner plugin enable` and `disable`: kept in the data folder, whether a Runner runs or not."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aisops_runner.adapters.discovery import Place, discover
from aisops_runner.cli.lazy import Examples
from aisops_runner.cli.main import F, common, read_config
from aisops_runner.cli.plugins.changing import json_option
from aisops_runner.cli.plugins.house import commands_of, layout_of, take_up
from aisops_runner.config import RunnerConfig
from aisops_runner.environments import registry
from aisops_runner.environments.shelf import BOTH
from aisops_runner.errors import PluginRefused


def where(function: F) -> F:
    """The options that name one of two places."""
    for option in (
        click.option("--own", is_flag=True, help="Only the one in an environment of its own."),
        click.option("--beside", is_flag=True, help="Only the one installed beside the Runner."),
    ):
        function = option(function)
    return function


@click.command(cls=Examples, epilog="aisops-runner plugin enable slack")
@common
@json_option
@where
@click.argument("name")
def enable(config_file: Path | None, name: str, *, beside: bool, own: bool, as_json: bool) -> None:
    """Use the plugin NAME again. A running Runner takes it up at once."""
    config = read_config(config_file)
    _switch(config, name, _places(beside=beside, own=own), on=True, as_json=as_json)
    settings = config.plugins.get(name)
    if settings is not None and not settings.enabled:
        click.echo(f"It stays off: the configuration says enabled = false under [plugins.{name}].", err=True)


@click.command(cls=Examples, epilog="aisops-runner plugin disable slack")
@common
@json_option
@where
@click.argument("name")
def disable(config_file: Path | None, name: str, *, beside: bool, own: bool, as_json: bool) -> None:
    """Stop using the plugin NAME until it is enabled again. Its calls under way get half a minute to finish."""
    _switch(read_config(config_file), name, _places(beside=beside, own=own), on=False, as_json=as_json)


def _places(*, beside: bool, own: bool) -> frozenset[Place]:
    chosen = {place for place, asked in ((Place.BESIDE, beside), (Place.OWN, own)) if asked}
    return frozenset(chosen) or BOTH


def _switch(config: RunnerConfig, name: str, places: frozenset[Place], *, on: bool, as_json: bool) -> None:
    with commands_of(config) as commands:
        _check_known(config, name)
        shelf = commands.switch(name, places, on=on)
        outcome, sentence = take_up(config, commands)
    off = sorted(shelf.off.get(name, ()))
    if as_json:
        click.echo(json.dumps({"name": name, "disabled": off, "runner": outcome}))
        return
    click.echo(f"{name} is {'enabled' if on else 'disabled'}.")
    click.echo(sentence)


def _check_known(config: RunnerConfig, name: str) -> None:
    found = discover()
    known = {one.name for one in found.installed} | {one.name for one in found.duplicates}
    known |= set(registry.read(layout_of(config)).holdings)
    if name not in known:
        text = f"no plugin {name!r} is installed; see: aisops-runner plugin list"
        raise PluginRefused(name, text, code="not_installed")
