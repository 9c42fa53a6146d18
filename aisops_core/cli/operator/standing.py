"""`aisops job explain` and `aisops job resolve`."""

from __future__ import annotations

import click

from aisops_core.cli.lazy import ExampleCommand
from aisops_core.cli.operator.address import segment
from aisops_core.cli.operator.output import Column, Context, output_options, print_json, show_list

RUNNER_COLUMNS = (
    Column("RUNNER", lambda item: item["runner_id"], optional=False),
    Column("MAY HAVE IT", lambda item: "yes" if item["refusal"] is None else "no", optional=False),
    Column("WHY NOT", lambda item: item["detail"]),
)


@click.command("explain", cls=ExampleCommand, examples=("aisops job explain ID", "aisops job explain ID --json"))
@click.argument("job_id")
@output_options
def explain(context: Context, job_id: str) -> None:
    """Say why a job is where it is, what it waits for, and what happens next."""
    document = context.client.get(f"/jobs/{segment(job_id)}/explain")
    if context.as_json:
        print_json(document)
        return
    if context.quiet:
        click.echo(document["id"])
        return
    click.echo(f"{document['id']} is {document['state']}.")
    click.echo(printable_lines(document["summary"]))
    if document["advice"]:
        click.echo(document["advice"])
    if document["runners"]:
        click.echo()
        show_list(context, {"items": document["runners"]}, RUNNER_COLUMNS, "")
        left = document["runners_considered"] - len(document["runners"])
        if left:
            click.echo(f"and {left} more Runners that may not have it", err=True)


def printable_lines(text: str) -> str:
    """Return text of others with everything a terminal could act upon made visible."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


@click.command(
    "resolve",
    cls=ExampleCommand,
    examples=(
        "aisops job resolve JOB_ID --as succeeded --note 'the mail is in the sent folder'",
        "aisops job resolve JOB_ID --as retry --note 'the provider never saw it'",
    ),
)
@click.argument("job_id")
@click.option(
    "--as",
    "verdict",
    type=click.Choice(["succeeded", "failed", "retry"]),
    required=True,
    help="What it came to outside; retry: run it once more, whatever has happened.",
)
@click.option("--note", required=True, help="How you know; kept with the job and in the audit log.")
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    help="The attempt you looked at; a job at another is left alone.",
)
@output_options
def resolve(context: Context, *, job_id: str, verdict: str, note: str, attempt: int | None) -> None:
    """Decide about a job whose outcome is unknown, after looking outside. Repeating it changes nothing."""
    body = {"as": verdict, "note": note, **({} if attempt is None else {"attempt": attempt})}
    item = context.client.post(f"/jobs/{segment(job_id)}/resolve", body).document
    if context.as_json:
        print_json(item)
    elif context.quiet:
        click.echo(item["id"])
    elif verdict == "retry":
        click.echo(f"{item['id']} is {item['state']} again, as attempt {item['attempt']}.")
    else:
        click.echo(f"{item['id']} is {item['state']}.")
