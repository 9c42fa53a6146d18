"""`aisops job …`."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aisops_core.cli.failure import FAILED, INTERRUPTED, USAGE, Failure
from aisops_core.cli.lazy import ExampleCommand
from aisops_core.cli.operator.address import segment
from aisops_core.cli.operator.batch import TERMINAL, submit_batch
from aisops_core.cli.operator.output import Column, Context, output_options, print_json, show_fields, show_list
from aisops_core.cli.operator.runners import labels_of
from aisops_core.cli.operator.standing import explain, resolve

POLL_S = 30
NO_LIMIT = -1.0

JOB_COLUMNS = (
    Column("ID", lambda item: item["id"], optional=False),
    Column("STATE", lambda item: item["state"], optional=False),
    Column("CAPABILITY", lambda item: item["capability"]),
    Column("RUNNER", lambda item: item["runner_id"] or "-"),
    Column("CREATED", lambda item: item["created_at"]),
    Column("ERROR", lambda item: (item["error"] or {}).get("code", "")),
)
TIMELINE_COLUMNS = (
    Column("TIME", lambda item: item["time"], optional=False),
    Column("WHAT", lambda item: item["kind"], optional=False),
    Column("TRY", lambda item: str(item["attempt"])),
    Column("RUNNER", lambda item: item["runner_id"] or "-"),
    Column("MESSAGE", lambda item: item["message"]),
)


@click.group()
def job() -> None:
    """Submit, follow, explain, cancel and resolve jobs."""


job.add_command(explain)
job.add_command(resolve)


def read_input(source: str) -> Any:
    """Return the JSON value given as text, as `@file` or on standard input as `-`. Raises Failure."""
    where = "--input"
    try:
        if source == "-":
            where = "standard input"
            text = sys.stdin.read()
        elif source.startswith("@"):
            where = source[1:]
            text = Path(where).read_text(encoding="utf-8")
        else:
            text = source
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Failure(
            f"The input in {where} is not JSON: {error.msg} at line {error.lineno} column {error.colno}.",
            advice='Write --input \'{"key": "value"}\' in single quotes, or --input @file.json.',
            exit_code=USAGE,
        ) from None
    except UnicodeDecodeError:
        raise Failure(f"The input in {where} is not UTF-8 text.", exit_code=USAGE) from None
    except OSError as error:
        raise Failure(f"Cannot read the input from {where}: {error.strerror}.", exit_code=USAGE) from None


@job.command(
    "submit",
    cls=ExampleCommand,
    examples=(
        """aisops job submit slack.send --input '{"target": "C0INCIDENTS", "text": "hello"}' --wait""",
        "aisops job submit email.send --input @mail.json --label site=seoul --json",
        "aisops job submit --batch jobs.jsonl --wait   (one job a line, with the fields of POST /jobs)",
    ),
)
@click.argument("capability", required=False)
@click.option("--batch", type=click.Path(path_type=Path), metavar="FILE|-", help="Many jobs: one JSON object a line.")
@click.option("--input", "source", metavar="JSON|@FILE|-", help="The job's input (default {}).")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only Runners that carry it; repeatable.")
@click.option("--runner", "runner_id", help="Only this Runner.")
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="Longest run (default: the capability's).")
@click.option(
    "--idempotency-key", help="The same key never makes a second job (default: a new one); line N of a batch has KEY-N."
)
@click.option(
    "--wait", "wait_s", type=float, is_flag=False, flag_value=NO_LIMIT, metavar="[SECONDS]",
    help="Wait for the end; exit 1 unless the job succeeded.",
)  # fmt: skip
@output_options
def submit(
    context: Context,
    *,
    capability: str | None,
    batch: Path | None,
    source: str | None,
    labels: tuple[str, ...],
    runner_id: str | None,
    timeout_s: float | None,
    idempotency_key: str | None,
    wait_s: float | None,
) -> int:
    """Submit a job, or many from a file."""
    if batch is not None:
        if capability or source or labels or runner_id or timeout_s is not None:
            raise click.UsageError("With --batch, what a job is stands in its line of the file.")
        return submit_batch(context, batch, idempotency_key, wait=wait_s is not None)
    if capability is None:
        raise click.UsageError("Name the CAPABILITY to be done, or a file of jobs with --batch.")
    key = idempotency_key or uuid.uuid4().hex
    wanted = {
        "capability": capability,
        "input": read_input(source or "{}"),
        "labels": labels_of(labels),
        "runner_id": runner_id,
        "timeout_s": timeout_s,
    }
    body = {name: value for name, value in wanted.items() if value is not None or name == "input"}
    try:
        item = context.client.post("/jobs", body, {"Idempotency-Key": key}).document
    except Failure as failure:
        if failure.problem is None:  # no answer: whether the job was taken is not known
            failure.advice += f" To try again without a second job, add: --idempotency-key {key}"
        raise
    if wait_s is not None:
        item = _wait(context, item, wait_s)
    _show(context, item)
    return FAILED if wait_s is not None and item["state"] != "succeeded" else 0


def _wait(context: Context, item: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Follow a job to its end or to the time given; Ctrl-C leaves the job alone."""
    deadline = None if wait_s == NO_LIMIT else time.monotonic() + wait_s
    shown = ""
    try:
        while True:
            if item["state"] != shown and not context.as_json and not context.quiet:
                shown = item["state"]
                click.echo(f"{item['id']}  {shown}{_on(item)}", err=True)
            left = POLL_S if deadline is None else min(POLL_S, int(deadline - time.monotonic()))
            if item["state"] in TERMINAL or (deadline is not None and time.monotonic() >= deadline):
                return item
            item = context.client.get(f"/jobs/{item['id']}", {"wait": max(1, left)}, wait_s=POLL_S)
    except KeyboardInterrupt:
        raise Failure(
            f"Stopped waiting. The job {item['id']} goes on.",
            advice=f"aisops job show {item['id']}   or   aisops job cancel {item['id']}",
            exit_code=INTERRUPTED,
        ) from None


def _on(item: Mapping[str, Any]) -> str:
    return f"  on {item['runner_id']}" if item["runner_id"] and item["state"] != "queued" else ""


def _show(context: Context, item: Mapping[str, Any]) -> None:
    if context.as_json:
        print_json(item)
    elif context.quiet:
        click.echo(item["id"])
    else:
        error = item["error"] or {}
        shown = {**item, "error": f"{error['code']}: {error['message']}" if error else ""}
        for name in ("cancel_requested", "output_truncated", "output_left_out"):
            shown[name] = item[name] or None
        show_fields(shown)
        if item["state"] == "uncertain":
            click.echo(
                "It is not known whether this happened outside. Look there, then decide: "
                f"aisops job resolve {item['id']} --as succeeded|failed|retry --note '...'",
                err=True,
            )
        if item.get("late_results"):
            last = item["late_results"][-1]
            click.echo(f"A result came too late to count: {last['state']}, at {last['received_at']}.", err=True)


@job.command("show", cls=ExampleCommand, examples=("aisops job show JOB_ID", "aisops job show JOB_ID --json"))
@click.argument("job_id")
@output_options
def show(context: Context, job_id: str) -> None:
    """Show one job."""
    _show(context, context.client.get(f"/jobs/{segment(job_id)}"))


@job.command("list", cls=ExampleCommand, examples=("aisops job list", "aisops job list --state failed --limit 20"))
@click.option("--state", type=click.Choice(["queued", "leased", "running", *sorted(TERMINAL)]), help="Only this state.")
@click.option("--capability", help="Only this capability.")
@click.option("--runner", help="Only this Runner.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many.")
@click.option("--cursor", help="Where the page before ended.")
@output_options
def list_jobs(
    context: Context, *, state: str | None, capability: str | None, runner: str | None, limit: int, cursor: str | None
) -> None:
    """List jobs, newest first."""
    query = {"state": state, "capability": capability, "runner": runner, "limit": limit, "cursor": cursor}
    show_list(context, context.client.get("/jobs", query), JOB_COLUMNS, "No jobs.")


@job.command("cancel", cls=ExampleCommand, examples=("aisops job cancel JOB_ID",))
@click.argument("job_id")
@output_options
def cancel(context: Context, job_id: str) -> None:
    """Ask for a job's end; a job that finishes first wins."""
    item = context.client.post(f"/jobs/{segment(job_id)}/cancel").document
    if context.as_json:
        print_json(item)
    elif context.quiet:
        click.echo(item["id"])
    elif item["state"] in TERMINAL:
        click.echo(f"{item['id']} is {item['state']}.")
    else:
        click.echo(f"{item['id']}: cancel requested; it is still {item['state']}.")


@job.command("logs", cls=ExampleCommand, examples=("aisops job logs JOB_ID", "aisops job logs JOB_ID -f"))
@click.argument("job_id")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@output_options
def logs(context: Context, *, job_id: str, follow: bool) -> None:
    """Print a job's log lines, oldest first; with --json one document a line."""
    seen = _print_logs(context, job_id, 0)
    while follow:
        # The state is read before the lines: lines that were there when the job ended are then all printed.
        ended = context.client.get(f"/jobs/{segment(job_id)}", {"wait": 1}, wait_s=1)["state"] in TERMINAL
        seen = _print_logs(context, job_id, seen)
        if ended:
            return


def _print_logs(context: Context, job_id: str, seen: int) -> int:
    """Print the lines after the first `seen`; return how many there are."""
    count, cursor = 0, None
    while True:
        page = context.client.get(f"/jobs/{segment(job_id)}/logs", {"cursor": cursor, "limit": 200})
        for line in page["items"]:
            count += 1
            if count > seen:
                _print_line(context, line)
        cursor = page["next_cursor"]
        if cursor is None:
            return count


def _print_line(context: Context, line: Mapping[str, Any]) -> None:
    if context.as_json:
        click.echo(json.dumps(line))
    else:
        text = "".join(char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in line["text"])
        click.echo(f"{line['time']}  {line['level']:<7}  {text}")


@job.command("timeline", cls=ExampleCommand, examples=("aisops job timeline JOB_ID",))
@click.argument("job_id")
@output_options
def timeline(context: Context, job_id: str) -> None:
    """Show everything that happened to a job."""
    page = context.client.get(f"/jobs/{segment(job_id)}/timeline")
    if context.quiet:
        for item in page["items"]:
            click.echo(item["kind"])
    else:
        show_list(context, page, TIMELINE_COLUMNS, "Nothing has happened yet.")
