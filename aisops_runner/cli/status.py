"""`aisops-runner status`: what a running Runner says of itself, over its local control socket."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from aisops_runner.cli.lazy import Examples
from aisops_runner.cli.main import common, read_config
from aisops_runner.cli.table import render
from aisops_runner.control.client import ask

EXAMPLES = """
aisops-runner status
aisops-runner status --config /etc/aisops/runner.toml --json
"""


@click.command(cls=Examples, epilog=EXAMPLES)
@common
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(config_file: Path | None, *, as_json: bool) -> None:
    """Show connection, outbox, jobs and plugins of the Runner that uses this data directory."""
    document = ask(read_config(config_file).data_dir, "status")
    click.echo(json.dumps(document, ensure_ascii=False, indent=2) if as_json else render_status(document))


def render_status(document: Mapping[str, Any]) -> str:
    """The status for people."""
    core, outbox, jobs = (document.get(key, {}) for key in ("core", "outbox", "jobs"))
    lines = [
        f"Runner  {document.get('runner_id')} (tenant {document.get('tenant_id')}), "
        f"version {document.get('version')}, pid {document.get('pid')}",
        f"Core    {core.get('state')}, {core.get('endpoint')}"
        + (f", round trip {core['rtt_ms']:.1f} ms" if core.get("rtt_ms") else "")
        + (f", {_clock(core)}" if core.get("clock", "ok") != "ok" else "")
        + (f", last error: {core['last_error']}" if core.get("last_error") else ""),
        f"Outbox  {_facts(outbox)}",
        f"Jobs    {_facts(jobs)}",
        "",
        render_plugins(document.get("plugins", [])),
    ]
    return "\n".join(lines)


def _clock(core: Mapping[str, Any]) -> str:
    side = "behind" if core["skew_ms"] > 0 else "ahead of"
    return f"clock {core['clock']}: this machine's is {abs(core['skew_ms']) / 1000:.0f} s {side} Core's"


def render_plugins(plugins: Sequence[Mapping[str, Any]]) -> str:
    """The table of plugins; the reason comes last because it is the longest."""
    if not plugins:
        return "No plugins are installed. Install one, for example: pip install aisops-plugin-slack"
    rows = [
        [
            str(row["name"]),
            str(row["version"]),
            str(row.get("kind", "package")),
            str(row["state"]),
            str(row["pid"] or "-"),
            str(row["restarts"]),
            ", ".join(row["capabilities"]) or "-",
            str(row["reason"]),
        ]
        for row in plugins
    ]
    return render(["NAME", "VERSION", "KIND", "STATE", "PID", "RESTARTS", "CAPABILITIES", "REASON"], rows)


def _facts(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
