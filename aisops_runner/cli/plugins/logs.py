"""`aisops-runner plugin logs`: what a plugin's sidecar wrote last. Works whether a Runner runs or not."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from aisops_runner.cli.lazy import Examples
from aisops_runner.cli.main import common, read_config
from aisops_runner.cli.plugins.changing import json_option
from aisops_runner.cli.plugins.house import layout_of
from aisops_runner.environments.names import plugin_name
from aisops_runner.sidecars.logbook import Line, last_lines


@click.command(cls=Examples, epilog="aisops-runner plugin logs slack --lines 500")
@common
@json_option
@click.option("--lines", "-n", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many.")
@click.argument("name")
def logs(config_file: Path | None, name: str, *, lines: int, as_json: bool) -> None:
    """Show the last lines that the sidecar of the plugin NAME wrote; secrets were taken out before they were kept.

    The Runner keeps the last 10 MB of each plugin. Lines of a job name it.
    """
    found = last_lines(layout_of(read_config(config_file)).logs, plugin_name(name), lines)
    if as_json:
        click.echo(json.dumps({"items": [asdict(line) for line in found], "next_cursor": None}, ensure_ascii=False))
    elif found:
        click.echo("\n".join(_text(line) for line in found))
    else:
        click.echo(f"{name} has written nothing here yet.", err=True)


def _text(line: Line) -> str:
    at = datetime.fromtimestamp(line.time_unix_ms / 1000, UTC).isoformat(timespec="milliseconds")
    words = [at.replace("+00:00", "Z"), f"{line.level:<7}", *([line.job_id] if line.job_id else []), line.text]
    return " ".join("".join(char if char.isprintable() else repr(char)[1:-1] for char in word) for word in words)
