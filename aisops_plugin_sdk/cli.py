"""`aisops-plugin`: the command line for people who write plugins."""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from aisops_plugin_sdk.commands.diff import diff
from aisops_plugin_sdk.commands.docs import docs
from aisops_plugin_sdk.commands.new import new
from aisops_plugin_sdk.version import SDK_VERSION

if TYPE_CHECKING:
    from aisops_plugin_sdk.manifest import Manifest
    from aisops_plugin_sdk.testing.behaviours import Finding

OK = 0
FAILED = 1
NOT_CONFIGURED = 78


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failed, 2 wrong usage, 78 the plugin is not configured.",
)
@click.version_option(SDK_VERSION, package_name="aisops-plugin-sdk")
def main() -> None:
    """Make, describe, run, check and compare AIsOpsFlow plugins."""


main.add_command(new)
main.add_command(diff)
main.add_command(docs)


@main.command(epilog="Example: aisops-plugin describe acme-chat | python -m json.tool")
@click.argument("name")
def describe(name: str) -> None:
    """Print the manifest of the installed plugin NAME as one JSON line. Needs no configuration."""
    from aisops_plugin_sdk.process.describe import describe as run

    sys.exit(run(name))


@main.command(epilog="Example: ACME_TOKEN=… AISOPSFLOW_INTERNAL_AUTH_TOKEN=dev PORT=9000 aisops-plugin serve acme-chat")
@click.argument("name")
def serve(name: str) -> None:
    """Run the installed plugin NAME as a sidecar on 127.0.0.1:$PORT until SIGTERM or Ctrl-C."""
    from aisops_plugin_sdk.process.serve import serve as run

    sys.exit(run(name))


@main.command(epilog="Example: ACME_TOKEN=anything aisops-plugin check acme-chat --target '#ops'")
@click.argument("name")
@click.option("--target", default="#ops", show_default=True, help="Recipient used on /send; nothing is sent.")
@click.option("--text", default="deployment failed", show_default=True, help="Text used on /send.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(name: str, target: str, text: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Start the installed plugin NAME in dry-run mode and check the behaviours every sidecar must show.

    The plugin gets those of its declared variables that are set here.
    """
    code, findings, problem = asyncio.run(_check(name, {"target": target, "text": text}))
    if as_json:
        click.echo(json.dumps({"ok": code == OK, "error": problem, "findings": [asdict(item) for item in findings]}))
    else:
        _print(findings, problem)
    sys.exit(code)


async def _check(name: str, body: dict[str, str]) -> "tuple[int, list[Finding], str | None]":
    """Start the plugin and examine it. Returns the exit code, the findings, and what prevented them."""
    from aisops_plugin_sdk.conformance import examine
    from aisops_plugin_sdk.errors import SdkError
    from aisops_plugin_sdk.testing.sidecar_process import SidecarFailed, SidecarProcess

    try:
        declared = (await _manifest(name)).env
        env = {item.name: os.environ[item.name] for item in declared if item.name in os.environ}
        async with SidecarProcess(name, env=env, dry_run=True) as process:
            ready = await process.client.get("/readyz", signed=False)
            if ready.code == "not_configured":
                wanted = "; ".join(f"{item['path']} {item['message']}" for item in ready.details)
                return (
                    NOT_CONFIGURED,
                    [],
                    f"{wanted}. Nothing is sent during a check: made-up values of the right form will do.",
                )
            findings = await examine(process, env=env, body=body)
    except (SdkError, SidecarFailed) as error:
        return FAILED, [], str(error)
    return (FAILED if any(item.outcome == "failed" for item in findings) else OK), findings, None


async def _manifest(name: str) -> "Manifest":
    """Describe the plugin in a process of its own, so that its code is not imported here.

    Raises:
        LoadFailed: it cannot be loaded; the text and code are those it gave.
        ManifestError: what it printed is no manifest.
    """
    from aisops_plugin_sdk.errors import LoadFailed
    from aisops_plugin_sdk.manifest import Manifest

    command = (sys.executable, "-m", "aisops_plugin_sdk", "describe", name)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    try:
        document = json.loads(printed)
    except ValueError:
        raise LoadFailed(f"describe ended with exit code {process.returncode} and no JSON", code="broken") from None
    if process.returncode != OK:
        raise LoadFailed(document["error"], code=document["code"])
    return Manifest.parse(document)


def _print(findings: "list[Finding]", problem: str | None) -> None:
    """Print a table for people."""
    if problem is not None:
        click.echo(f"Error: {problem}", err=True)
        return
    for item in findings:
        click.echo(
            f"{item.behaviour:>3}  {item.outcome:<8} {item.title}" + (f"  [{item.reason}]" if item.reason else "")
        )
    counts = {outcome: sum(item.outcome == outcome for item in findings) for outcome in ("passed", "failed", "skipped")}
    click.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count))
