"""`aisops-runner outbox status`: what waits in the outbox, with the Runner running or stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aisops_runner.cli.lazy import Examples
from aisops_runner.cli.main import common, read_config
from aisops_runner.control.client import ask
from aisops_runner.errors import RunnerError
from aisops_runner.outbox.report import read
from aisops_runner.outbox.room import bounds_for

EXAMPLES = """
aisops-runner outbox status
aisops-runner outbox status --config /etc/aisops/runner.toml --json
"""


@click.group()
def outbox() -> None:
    """Look at what waits to be sent to Core."""


@outbox.command(cls=Examples, epilog=EXAMPLES)
@common
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(config_file: Path | None, *, as_json: bool) -> None:
    """Show depth, age, drops, damage and pressure of the outbox; the Runner may be running or stopped."""
    data_dir = read_config(config_file).data_dir
    try:
        document = {"runner": "running", **ask(data_dir, "outbox")}
    except RunnerError:
        found = read(data_dir, bounds_for(data_dir), time.time_ns() // 1_000_000)
        document = {"runner": "not answering", **found}
    click.echo(json.dumps(document, ensure_ascii=False, indent=2) if as_json else render_outbox(document))


def render_outbox(document: Mapping[str, Any]) -> str:
    """The report for people."""
    dropped, journal, files = (document[key] for key in ("dropped", "journal", "files"))
    levels = ", ".join(f"{name} {count}" for name, count in dropped.items() if name != "total")
    age = document["oldest_age_s"]
    rows = [
        ("Runner", document["runner"]),
        ("Waiting", f"{document['messages']} messages, {_octets(document['bytes'])}"),
        ("Oldest", "-" if age is None else f"{_span(age)} ago (number {document['oldest_seq']})"),
        ("Pressure", f"{document['pressure']} ({document['full_percent']} % of {_octets(document['max_bytes'])})"),
        ("Dropped", f"{dropped['total']} log lines ({levels}); results never"),
        ("Damaged", f"{document['quarantined']} messages, {document['quarantined_rows_kept']} rows kept aside"),
        ("Jobs", f"{journal['accepted']} accepted, {journal['started']} started, "
                 f"{journal['unacknowledged_results']} results not acknowledged"),
        ("Epoch", f"{document['epoch'] or '-'} ({document['epochs']} known), next number {document['next_seq']}"),
        ("Files", f"outbox {_octets(files['outbox_bytes'])}, log {_octets(files['log_bytes'])}, "
                  f"reserve {_octets(files['ballast_bytes'])}, high-water {files['highwater_seq']}"),
    ]  # fmt: skip
    if files["suspect"]:
        rows.append(("Suspect", "damage was seen; the next start checks every row"))
    rows += [("Set aside", name) for name in files["set_aside"]]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in rows)


def _octets(count: int) -> str:
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
