"""The `aisops` command tree."""

from __future__ import annotations

import click

from aisops_core.cli.core import version
from aisops_core.cli.failure import run
from aisops_core.cli.lazy import LazyGroup

_HERE = "aisops_core.cli.operator"
COMMANDS = {
    "login": (f"{_HERE}.account:login", "Keep a Core's address and your token in a profile file."),
    "whoami": (f"{_HERE}.account:whoami", "Show whose token this is."),
    "job": (f"{_HERE}.jobs:job", "Submit, follow and cancel jobs."),
    "runner": (f"{_HERE}.runners:runner", "Admit and show Runners."),
    "capability": (f"{_HERE}.runners:capability", "Show what the Runners can do."),
}


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    if wanted:
        click.echo(f"aisops {version()}")
        context.exit()


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails.")
def aisops() -> None:
    """Work with AIsOpsFlow: submit jobs to Runners and follow them.

    \b
    Where Core is and who you are comes from, in this order:
      a command's --url and --token-file; AISOPS_URL and AISOPS_TOKEN (or AISOPS_TOKEN_FILE); `aisops login`.

    \b
    Examples:
      aisops login http://127.0.0.1:8080 --token-file admin-token
      aisops job submit slack.send --input '{"target": "C0INCIDENTS", "text": "hello"}' --wait
      aisops job list --state failed
    """  # noqa: D301 - \b is click's mark for text that is not to be re-wrapped


def main() -> int:
    """Entry point of `aisops`; returns the exit code."""
    return run(aisops, "aisops")
