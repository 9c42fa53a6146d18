"""`aisops runner …` and `aisops capability …`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from aisops_core.cli.failure import Failure
from aisops_core.cli.lazy import ExampleCommand
from aisops_core.cli.operator.address import segment
from aisops_core.cli.operator.output import Column, Context, output_options, print_json, show_fields, show_list


def labels_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return `KEY=VALUE` options as a mapping. Raises click.UsageError."""
    labels: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise click.UsageError(f"--label {pair!r} is not KEY=VALUE.")
        labels[key] = value
    return labels


def _state(item: Mapping[str, Any]) -> str:
    if not item["connected"]:
        return "offline"
    return "draining" if item["draining"] else "connected"


def _clock(item: Mapping[str, Any]) -> str:
    clock = item.get("clock")
    if clock is None:
        return "-"
    if clock["level"] == "ok":
        return "ok"
    side = "ahead" if clock["skew_s"] > 0 else "behind"
    return f"{abs(clock['skew_s']):.0f} s {side} ({clock['level']})"


RUNNER_COLUMNS = (
    Column("ID", lambda item: item["id"], optional=False),
    Column("STATE", _state, optional=False),
    Column("FREE", lambda item: f"{item['free_slots']}/{item['job_slots']}"),
    Column("QUEUE", lambda item: str(item["outbox"]["messages"])),
    Column("CLOCK", _clock),
    Column("SEEN", lambda item: item["last_seen_at"] or "never"),
    Column("VERSION", lambda item: item["version"] or "-"),
    Column("CAPABILITIES", lambda item: ", ".join(item["capabilities"]) or "-"),
)
EVENT_COLUMNS = (
    Column("TIME", lambda item: item["time"], optional=False),
    Column("KIND", lambda item: item["kind"], optional=False),
    Column("DATA", lambda item: json.dumps(item["data"], ensure_ascii=False)),
)
CAPABILITY_COLUMNS = (
    Column("NAME", lambda item: item["name"], optional=False),
    Column("EFFECT", lambda item: item["effect_class"], optional=False),
    Column("PLUGIN", lambda item: f"{item['plugin']} {item['plugin_version']}"),
    Column("RUNNERS", lambda item: ", ".join(item["runners"])),
    Column("DESCRIPTION", lambda item: item["description"]),
)


@click.group()
def runner() -> None:
    """Admit and show Runners."""


@runner.command(
    "create",
    cls=ExampleCommand,
    examples=(
        "aisops runner create seoul-dc-1 --label site=seoul",
        "(umask 077; aisops runner create seoul-dc-1 -q > runner-token)",
    ),
)
@click.argument("name")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label jobs can ask for; may be repeated.")
@output_options
def create(context: Context, name: str, labels: tuple[str, ...]) -> None:
    """Admit a Runner and print its token, this once (with -q the token alone)."""
    answer = context.client.post("/runners", {"runner_id": name, "labels": labels_of(labels)}).document
    _show_token(context, answer)


@runner.command(
    "token", cls=ExampleCommand, examples=("(umask 077; aisops runner token seoul-dc-1 -q > runner-token)",)
)
@click.argument("name")
@output_options
def token(context: Context, name: str) -> None:
    """Make a further token for a Runner, for example to replace a lost one; earlier ones stay valid until revoked."""
    answer = context.client.post(f"/runners/{segment(name)}/tokens").document
    _show_token(context, answer)


def _show_token(context: Context, answer: Mapping[str, Any]) -> None:
    if context.as_json:
        print_json(answer)
    elif context.quiet:
        click.echo(answer["token"])
    else:
        click.echo(f"Runner {answer['id']}. Its token, shown this once:\n\n  {answer['token']}\n")
        click.echo("Put it into a file only the Runner can read, then on the Runner's machine: aisops-runner run")


@runner.command("list", cls=ExampleCommand, examples=("aisops runner list",))
@output_options
def list_runners(context: Context) -> None:
    """List Runners."""
    page = context.client.get("/runners")
    show_list(context, page, RUNNER_COLUMNS, "No Runners yet. `aisops runner create NAME` admits one.")


@runner.command("show", cls=ExampleCommand, examples=("aisops runner show seoul-dc-1",))
@click.argument("name")
@output_options
def show(context: Context, name: str) -> None:
    """Show one Runner."""
    item = context.client.get(f"/runners/{segment(name)}")
    if context.as_json:
        print_json(item)
    elif context.quiet:
        click.echo(item["id"])
    else:
        known = {"id": item["id"], "state": _state(item)}
        show_fields({**known, **{k: v for k, v in item.items() if k != "id"}, "clock": _clock(item)})


@runner.command(
    "events",
    cls=ExampleCommand,
    examples=("aisops runner events seoul-dc-1", "aisops runner events seoul-dc-1 --limit 200 --json"),
)
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many.")
@output_options
def events(context: Context, name: str, limit: int) -> None:
    """List what a Runner told of itself or Core noticed, newest first: times offline, gaps, clones, failing plugins."""
    page = context.client.get(f"/runners/{segment(name)}/events", {"limit": limit})
    if context.quiet:
        for item in page["items"]:
            click.echo(item["kind"])
    else:
        show_list(context, page, EVENT_COLUMNS, "Nothing out of the ordinary.")


@click.group()
def capability() -> None:
    """Show what the Runners can do."""


@capability.command("list", cls=ExampleCommand, examples=("aisops capability list",))
@output_options
def list_capabilities(context: Context) -> None:
    """List every capability on offer."""
    page = context.client.get("/capabilities")
    show_list(context, page, CAPABILITY_COLUMNS, "No capabilities: no Runner with plugins has connected yet.")


@capability.command("show", cls=ExampleCommand, examples=("aisops capability show slack.send",))
@click.argument("name")
@output_options
def show_capability(context: Context, name: str) -> None:
    """Show one capability with the schema of its input."""
    items = context.client.get("/capabilities")["items"]
    found = next((item for item in items if item["name"] == name), None)
    if found is None:
        known = ", ".join(item["name"] for item in items) or "none"
        raise Failure(f"No Runner offers {name!r}.", advice=f"Known capabilities: {known}.")
    if context.as_json:
        print_json(found)
    elif context.quiet:
        click.echo(found["name"])
    else:
        show_fields(found)
