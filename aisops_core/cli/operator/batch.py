"""`aisops job submit --batch FILE`: many jobs, one JSON document a line, in as few requests as it takes."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from aisops_core.cli.failure import FAILED, USAGE, Failure
from aisops_core.cli.operator.output import Column, Context, print_json, show_list
from aisops_core.dispatch import strict_json

REQUEST_JOBS = 1000
REQUEST_BYTES = 8 * 1024 * 1024
"""Less than Core takes, so that what stands around the jobs always fits."""
WAIT_S = 30
TERMINAL = frozenset({"succeeded", "failed", "timed_out", "cancelled", "uncertain"})

Line = tuple[int, bytes]
"""Number of the line in the file, and its job as JSON."""
COLUMNS = (
    Column("LINE", lambda item: str(item["line"]), optional=False),
    Column("ID", lambda item: (item["job"] or {}).get("id", "-"), optional=False),
    Column("STATE", lambda item: (item["job"] or {}).get("state", "refused"), optional=False),
    Column("ERROR", lambda item: _why(item)),
)


def _why(item: Mapping[str, Any]) -> str:
    if item["problem"] is not None:
        return f"{item['problem']['detail']} [{item['problem']['code']}]"
    return str(((item["job"] or {}).get("error") or {}).get("code", ""))


def read_jobs(path: Path, key: str) -> list[Line]:
    """Return the jobs of a file, each with an idempotency key made of `key` and its line's number unless it has one.

    Raises Failure, naming the line, for what is not a JSON object.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise Failure(f"Cannot read {path}: {error.strerror}.", exit_code=USAGE) from None
    jobs = [_read_line(number, line, key) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    if not jobs:
        raise Failure(f"{path} holds no job.", advice="Write one JSON object a line.", exit_code=USAGE)
    return jobs


def _read_line(number: int, line: bytes, key: str) -> Line:
    advice = """One job a line, for example {"capability": "slack.send", "input": {"target": "C1", "text": "hello"}}"""
    try:
        document = strict_json.loads(line)  # as Core does: what it refuses would take the whole request with it
    except strict_json.NotStrictJson as error:
        raise Failure(f"Line {number} is not JSON: {error}.", advice=advice, exit_code=USAGE) from None
    if not isinstance(document, dict):
        raise Failure(f"Line {number} is not a JSON object.", advice=advice, exit_code=USAGE)
    return number, json.dumps({"idempotency_key": f"{key}-{number}", **document}).encode()


def in_requests(jobs: Sequence[Line]) -> Iterator[list[Line]]:
    """Split jobs, in order, into what one request may carry."""
    part: list[Line] = []
    size = 0
    for line in jobs:
        if part and (len(part) == REQUEST_JOBS or size + len(line[1]) > REQUEST_BYTES):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line[1]) + 1
    if part:
        yield part


def submit_batch(context: Context, path: Path, key: str | None, *, wait: bool) -> int:
    """Submit every job of a file, show what became of each, and return the exit code: 1 when any was refused or failed.

    Waiting is without limit: a job that has not ended by the answer is asked for until it has.
    """
    key = key or uuid.uuid4().hex
    jobs = read_jobs(path, key)
    items: list[dict[str, Any]] = []
    try:
        for part in in_requests(jobs):
            items += _send(context, part, wait=wait)
            if len(items) < len(jobs) and not context.quiet and not context.as_json:
                click.echo(f"{len(items)} of {len(jobs)} submitted", err=True)
        if wait:
            _follow(context, items)
    except Failure as failure:
        if items or failure.problem is None:  # some jobs were taken, or (without an answer) may have been
            failure.advice = f"{failure.advice} To go on without second jobs, add: --idempotency-key {key}".lstrip()
        raise
    if context.as_json:
        print_json({"items": items})
    elif context.quiet:
        for item in items:
            click.echo((item["job"] or {}).get("id", "-"))
    else:
        show_list(context, {"items": items}, COLUMNS, "No jobs.")
    good = all(item["job"] is not None and (not wait or item["job"]["state"] == "succeeded") for item in items)
    return 0 if good else FAILED


def _send(context: Context, part: Sequence[Line], *, wait: bool) -> list[dict[str, Any]]:
    body = b'{"jobs":[' + b",".join([job for _, job in part]) + b"]}"
    headers, wait_s = ({"Prefer": f"wait={WAIT_S}"}, WAIT_S) if wait else ({}, 0)
    answer = context.client.post_json("/jobs/batch", body, headers, wait_s=wait_s).document
    return [{"line": number, **item} for (number, _), item in zip(part, answer["items"], strict=True)]


def _follow(context: Context, items: Sequence[dict[str, Any]]) -> None:
    for item in items:
        while item["job"] is not None and (item["job"]["state"] not in TERMINAL or item["job"].get("output_left_out")):
            item["job"] = context.client.get(f"/jobs/{item['job']['id']}", {"wait": WAIT_S}, wait_s=WAIT_S)
