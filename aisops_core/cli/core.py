"""`aisops-core`: run Core and administer it where its data is."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import click

from aisops_core.cli.failure import run
from aisops_core.cli.lazy import ExampleCommand, LazyGroup

COMMANDS = {
    "serve": ("aisops_core.cli.serve:serve", "Run Core: HTTP API and the door for Runners."),
    "migrate": ("aisops_core.cli.database:migrate", "Bring the database to this version's schema."),
    "audit": ("aisops_core.cli.audit:audit", "List the audit log and check that nobody changed it."),
    "token": ("aisops_core.cli.database:token", "Create, list and revoke API and runner tokens."),
}


def version() -> str:
    """Return the installed version of Core."""
    try:
        return metadata.version("aisops-core")
    except metadata.PackageNotFoundError:
        return "unknown"


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    if wanted:
        click.echo(f"aisops-core {version()}")
        context.exit()


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails.")
def core() -> None:
    """Run and administer AIsOpsFlow Core.

    First steps: aisops-core serve --data ./core-data
    """


def main() -> int:
    """Entry point of `aisops-core`; returns the exit code."""
    return run(core, "aisops-core")


def location_options(command: Any) -> Any:
    """Add the options that say where Core's data is."""
    data = click.option(
        "--data", "data_dir", type=click.Path(path_type=Path), help="Folder of Core's data (made when missing)."
    )
    config = click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings.")
    debug = click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails.")
    return data(config(debug(command)))


__all__ = ["ExampleCommand", "core", "location_options", "main", "version"]
