"""What really happened: effects as the providers counted them, and rows as they stand in Core's database."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import defaultdict
from contextlib import closing

from demo.stage import Stage
from tests.chaos.load import Load
from tests.chaos.tally import Tally


async def settle(stage: Stage, load: Load, tally: Tally, patience_s: float = 90.0) -> None:
    """Read every job's end, then count effects and rows."""
    await load.read_back(patience_s)
    await asyncio.to_thread(count_effects, stage, load.prefix, tally)
    await asyncio.to_thread(count_rows, stage, load.prefix, tally)


def count_effects(stage: Stage, prefix: str, tally: Tally) -> None:
    """Count at the providers: what they carried out, by the key in the message's text."""
    pattern = key_pattern(prefix)
    for messages in stage.received().values():
        for message in messages:
            if found := pattern.search(str(message.get("text", ""))):
                tally.effects[found.group()] += 1
    tally.repeated.update(found.group() for text in stage.duplicates() if (found := pattern.search(text)))


def count_rows(stage: Stage, prefix: str, tally: Tally) -> None:
    """Count in Core's database: one job for each key, and each line that the witness wrote, once."""
    path = stage.home / "core" / "core.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        jobs = database.execute(
            "SELECT idempotency_key FROM jobs WHERE idempotency_key LIKE ? || '-%'", (prefix,)
        ).fetchall()
        lines = database.execute(
            "SELECT idempotency_key, text, COUNT(*) FROM jobs JOIN job_logs USING (tenant_id, job_id) "
            "WHERE idempotency_key LIKE ? || '-%' AND text LIKE idempotency_key || ' %' GROUP BY 1, 2",
            (prefix,),
        ).fetchall()
    tally.stored.update((key, "job") for (key,) in jobs)
    calls: dict[str, set[str]] = defaultdict(set)
    for key, text, times in lines:
        tally.stored[key, text] = times
        calls[key].add(text.split()[1])
    tally.repeated.update(key for key, marks in calls.items() if len(marks) > 1)


def late_results(stage: Stage, prefix: str) -> dict[str, int]:
    """Results that arrived when they no longer counted, by the job's key."""
    path = stage.home / "core" / "core.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        found = database.execute(
            "SELECT idempotency_key, COUNT(*) FROM jobs JOIN late_results USING (tenant_id, job_id) "
            "WHERE idempotency_key LIKE ? || '-%' GROUP BY 1",
            (prefix,),
        ).fetchall()
    return {str(key): int(count) for key, count in found}


def key_pattern(prefix: str) -> re.Pattern[str]:
    """Finds the keys of one load in texts."""
    return re.compile(rf"{re.escape(prefix)}-\d+\.")
