"""`aisops-runner plugin install`, `upgrade`, `rollback` and `uninstall`: which version of what is in use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from aisops_runner.adapters.discovery import Place
from aisops_runner.cli.lazy import Examples
from aisops_runner.cli.main import F, common, read_config
from aisops_runner.cli.plugins.house import commands_of, layout_of, progress, take_up
from aisops_runner.config import RunnerConfig
from aisops_runner.environments.building import Order
from aisops_runner.environments.commands import Change, Commands
from aisops_runner.environments.installers import Choice
from aisops_runner.environments.names import plugin_name
from aisops_runner.environments.registry import read
from aisops_runner.environments.wanted import Wanted, wanted
from aisops_runner.errors import ConfigInvalid, InstallFailed

OFFLINE_HINT = "with --wheelhouse nothing else is asked: it must hold the plugin and all it needs (pip download -d)"


def sources(function: F) -> F:
    """The options that say where packages come from."""
    for option in (
        click.option(
            "--installer",
            type=click.Choice(["auto", "uv", "pip"]),
            default="auto",
            show_default=True,
            help="What fills the environment; auto: uv where there is one, else pip.",
        ),
        click.option(
            "--lock",
            "lock_file",
            type=click.Path(path_type=Path),
            help="Requirements with exact versions and hashes; install these and nothing else.",
        ),
        click.option(
            "--wheelhouse",
            type=click.Path(path_type=Path),
            help="Folder with wheels; nothing else is asked, so this works offline.",
        ),
    ):
        function = option(function)
    return function


def json_option(function: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document.")(function)


@click.command(
    cls=Examples,
    epilog="""
aisops-runner plugin install aisops-plugin-slack
aisops-runner plugin install acme-chat==1.2 --wheelhouse /media/usb/wheels
aisops-runner plugin install ./acme_chat-1.2-py3-none-any.whl --lock acme.lock
""",
)
@common
@json_option
@sources
@click.argument("what")
def install(config_file: Path | None, what: str, *, as_json: bool, **options: Any) -> None:
    """Install WHAT (a package, or a wheel file) into an environment of its own.

    The packages are locked to versions and hashes and checked; the plugin then describes itself, and is used from the
    moment everything is in order. Whatever goes wrong before leaves all as it was.
    """
    config = read_config(config_file)
    order = _order(wanted(what), options)
    _run(config, lambda commands: commands.install(order, installer=_choice(options)), as_json, order.wheelhouse)


@click.command(
    cls=Examples,
    epilog="""
aisops-runner plugin upgrade slack
aisops-runner plugin upgrade slack aisops-plugin-slack==0.3 --wheelhouse /media/usb/wheels
aisops-runner plugin upgrade slack --rebuild
""",
)
@common
@json_option
@sources
@click.option("--accept-changes", is_flag=True, help="Switch also to a version that takes away, or asks for more.")
@click.option("--rebuild", is_flag=True, help="Build the version in use again, because its environment is damaged.")
@click.argument("name")
@click.argument("what", required=False)
def upgrade(
    config_file: Path | None,
    name: str,
    what: str | None,
    *,
    as_json: bool,
    accept_changes: bool,
    rebuild: bool,
    **options: Any,
) -> None:
    """Switch the plugin NAME to the newest version, or to WHAT (a package with a version, or a wheel file).

    The new version is built beside the one in use and compared with it. Jobs under way finish with the old version.
    """
    config = read_config(config_file)

    def work(commands: Commands) -> Change:
        now = read_holding(config, name)
        default = Wanted(now[0], f"{now[0]}=={now[1]}" if rebuild else now[0])
        order = _order(wanted(what) if what else default, options)
        return commands.upgrade(name, order, accept=accept_changes, rebuild=rebuild, installer=_choice(options))

    _run(config, work, as_json, options["wheelhouse"])


@click.command(cls=Examples, epilog="aisops-runner plugin rollback slack")
@common
@json_option
@click.argument("name")
def rollback(config_file: Path | None, name: str, *, as_json: bool) -> None:
    """Switch the plugin NAME back to the version before. Once more switches forward again."""
    _run(read_config(config_file), lambda commands: commands.roll_back(plugin_name(name)), as_json)


@click.command(cls=Examples, epilog="aisops-runner plugin uninstall slack --purge")
@common
@json_option
@click.option("--purge", is_flag=True, help="Also delete its log lines and its working folder.")
@click.argument("name")
def uninstall(config_file: Path | None, name: str, *, as_json: bool, purge: bool) -> None:
    """Remove the plugin NAME and its environments. Works for broken plugins, too: nothing of it is run."""
    _run(read_config(config_file), lambda commands: commands.uninstall(plugin_name(name), purge=purge), as_json)


def read_holding(config: RunnerConfig, name: str) -> tuple[str, str]:
    """Package and version of an installed plugin."""
    now = read(layout_of(config)).holding(plugin_name(name)).now
    return now.distribution, now.version


def _order(asked: Wanted, options: dict[str, Any]) -> Order:
    lock: Path | None = options["lock_file"]
    try:
        text = lock.read_text(encoding="utf-8") if lock is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"cannot read the lock: {error}", key="--lock", source=str(lock)) from None
    if asked.wheel is not None and not asked.wheel.is_file():
        raise ConfigInvalid("there is no such wheel file", key="WHAT", source=str(asked.wheel))
    return Order(asked, options["wheelhouse"], lock=text)


def _choice(options: dict[str, Any]) -> Choice:
    choice: Choice = options["installer"]
    return choice


def _run(
    config: RunnerConfig,
    work: Callable[[Commands], Change],
    as_json: bool,  # noqa: FBT001
    wheelhouse: Path | None = None,
) -> None:
    with commands_of(config, progress(quiet=as_json)) as commands:
        try:
            change = work(commands)
        except InstallFailed as error:
            if wheelhouse is None:
                raise
            raise InstallFailed(f"{error.message} ({OFFLINE_HINT})", code=error.code) from None
        outcome, sentence = take_up(config, commands)
        disabled = Place.OWN in read(layout_of(config)).off.get(change.name, ())
    unset = _unset(config, change)
    if as_json:
        click.echo(json.dumps(_document(change, unset, outcome) | {"disabled": disabled}, ensure_ascii=False))
        return
    click.echo(_told(change))
    for difference in change.accepted:
        click.echo(f"  accepted: {difference.text}")
    if change.manifest is not None:
        click.echo(f"  offers: {', '.join(spec.name for spec in change.manifest.capabilities)}")
    for name in unset:
        click.echo(f'  it needs {name}: set it under [plugins.{change.name}.env], as in {name} = "file:/etc/aisops/…"')
    if disabled:
        click.echo(f"  it is disabled; enable it with: aisops-runner plugin enable {change.name}")
    click.echo(sentence)


def _told(change: Change) -> str:
    now, before = change.now, change.before
    if now is None:
        return f"{change.name} {before.version if before else ''} is uninstalled."
    if before is None:
        return f"{change.name} {now.version} is installed."
    return (
        f"{change.name} is at {now.version} now (before: {before.version}; back with: plugin rollback {change.name})."
    )


def _document(change: Change, unset: list[str], outcome: str) -> dict[str, Any]:
    return {
        "name": change.name,
        "version": change.now.version if change.now else None,
        "before": change.before.version if change.before else None,
        "capabilities": [spec.name for spec in change.manifest.capabilities] if change.manifest else [],
        "accepted": [{"kind": one.kind, "text": one.text} for one in change.accepted],
        "unset_variables": unset,
        "runner": outcome,
    }


def _unset(config: RunnerConfig, change: Change) -> list[str]:
    """Variables the plugin requires and nobody has set."""
    settings = config.plugins.get(change.name)
    known = {*os.environ, *(settings.env if settings else ())}
    return (
        [spec.name for spec in change.manifest.env if spec.required and spec.name not in known]
        if change.manifest
        else []
    )
