"""`aisops-core audit …`: read the log of who did what, and check its chain of hashes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from aisops_core.audit.record import AuditRecord
from aisops_core.cli.core import ExampleCommand, location_options
from aisops_core.cli.database import json_option, opened, tenant_option
from aisops_core.cli.failure import Failure, printable


@click.group()
def audit() -> None:
    """List the audit log and check that nobody changed it. Works beside a running Core."""


@audit.command(
    "list",
    cls=ExampleCommand,
    examples=(
        "aisops-core audit list --data ./core-data",
        "aisops-core audit list --data ./core-data --after 100 --json",
    ),
)
@location_options
@click.option("--after", default=0, show_default=True, type=click.IntRange(0), help="Only records after this number.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@tenant_option
@json_option
def list_records(
    *, data_dir: Path | None, config: Path | None, after: int, limit: int, tenant: str, as_json: bool
) -> None:
    """List records, oldest first."""

    async def work() -> Sequence[AuditRecord]:
        async with opened(data_dir, config) as administration:
            return await administration.audit.list(tenant, after_seq=after, limit=limit)

    documents = [_document(record) for record in asyncio.run(work())]
    if as_json:
        click.echo(json.dumps({"items": documents, "next_cursor": None}, ensure_ascii=False))
        return
    for one in documents:
        detail = json.dumps(one["detail"], ensure_ascii=False)
        words = (str(one["seq"]), one["time"], one["actor"], one["action"], one["subject"], detail)
        click.echo(printable("  ".join(words)))


def _document(record: AuditRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.at_unix_ms / 1000, UTC)
    return {
        "seq": record.seq,
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "actor": record.actor,
        "action": record.action,
        "subject": record.subject,
        "detail": json.loads(record.detail),
    }


@audit.command("verify", cls=ExampleCommand, examples=("aisops-core audit verify --data ./core-data",))
@location_options
@tenant_option
def verify(*, data_dir: Path | None, config: Path | None, tenant: str) -> None:
    """Check the chain from its first record to its last; exit code 1 when it is broken."""

    async def work() -> int | None:
        async with opened(data_dir, config) as administration:
            return await administration.audit.verify(tenant)

    broken = asyncio.run(work())
    if broken is not None:
        raise Failure(
            f"The chain breaks at record {broken}: it was changed, or one before it was removed.",
            advice="Compare with a backup; everything before that record holds.",
        )
    click.echo("The chain holds.")
