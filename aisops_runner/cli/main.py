"""The root of `aisops-runner` and the options every command shares."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aisops_runner.cli.lazy import ExamplesGroup

if TYPE_CHECKING:
    from aisops_runner.config import RunnerConfig

F = TypeVar("F", bound=Callable[..., Any])

COMMANDS = {
    "run": ("aisops_runner.cli.run:run", "Connect to Core and work until stopped."),
    "status": ("aisops_runner.cli.status:status", "Show the Runner that uses this data directory."),
    "outbox": ("aisops_runner.cli.outbox:outbox", "Show what waits to be sent to Core."),
    "plugin": ("aisops_runner.cli.plugins.group:plugin", "Install, change, check and list plugins."),
}
EXAMPLES = """
aisops-runner run --config /etc/aisops/runner.toml
aisops-runner status
aisops-runner outbox status
aisops-runner plugin list
"""


def common(function: F) -> F:
    """`--config`, `--json` and `--debug`."""
    function = click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails.")(
        function
    )
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="TOML file; by default $AISOPS_RUNNER_CONFIG, then the environment alone.",
    )(function)


def read_config(path: Path | None) -> RunnerConfig:
    """Read the configuration; the one place of the command line that does.

    Raises:
        ConfigInvalid: It cannot be used.
    """
    from aisops_runner.config import load_config

    return load_config(path, os.environ)


@click.group(
    cls=ExamplesGroup,
    lazy=COMMANDS,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="aisops-runner", prog_name="aisops-runner", message="%(prog)s %(version)s")
def main() -> None:
    """Run jobs from AIsOpsFlow Core inside this network, through plugins.

    Exit codes: 0 ok, 1 failed, 2 wrong usage, 78 configuration or refused for good.
    """
