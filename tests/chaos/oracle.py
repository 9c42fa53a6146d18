"""What really happened: effects as the providers counted them, and rows as they stand in Core's database."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing

from demo.stage import Stage
from tests.chaos.load import Load
from tests.chaos.tally import Tally
from tests.chaos.witness import CAPABILITY, LINES

LINES_S = 15.0
"""So long after the last job has ended its lines may still be on the way."""


async def settle(stage: Stage, load: Load, tally: Tally, patience_s: float = 90.0, *, lines: bool = False) -> None:
    """Read every job's end, then count effects and rows.

    Args:
        stage: Where.
        load: Whose jobs.
        tally: Gets the counts.
        patience_s: How long jobs may take to end.
        lines: Every line that a job wrote must have arrived: nobody killed the Runner that held it.
    """
    await load.read_back(patience_s)
    await asyncio.to_thread(count_effects, stage, load.prefix, tally)
    until = asyncio.get_running_loop().time() + LINES_S
    while True:
        heard = await asyncio.to_thread(count_rows, stage, load.prefix, tally)
        missing = {key for key, wanted in _spoken(load, tally).items() if heard.get(key, 0) < wanted}
        if not (lines and missing) or asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(0.2)
    if lines:
        tally.unheard |= missing


def _spoken(load: Load, tally: Tally) -> dict[str, int]:
    """How many lines each witness that succeeded has written in its last call."""
    found = {}
    for key in load.ids:
        job = tally.jobs.get(key, {})
        if job.get("capability") == CAPABILITY and job["state"] == "succeeded":
            found[key] = int((job.get("output") or {}).get("lines", LINES))
    return found


def count_effects(stage: Stage, prefix: str, tally: Tally) -> None:
    """Count at the providers: what they carried out, by the key in the message's text."""
    pattern = key_pattern(prefix)
    for messages in stage.received(f"{prefix}-").values():
        for message in messages:
            if found := pattern.search(str(message.get("text", ""))):
                tally.effects[found.group()] += 1
    tally.repeated.update(found.group() for text in stage.duplicates() if (found := pattern.search(text)))


def count_rows(stage: Stage, prefix: str, tally: Tally) -> dict[str, int]:
    """Count in Core's database: one job for each key, and each line that the witness wrote, once.

    Returns:
        How many lines there are of the call that left most, by key.
    """
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
    tally.stored |= Counter((key, "job") for (key,) in jobs)
    calls: dict[str, Counter[str]] = defaultdict(Counter)
    for key, text, times in lines:
        tally.stored[key, text] = times
        calls[key][text.split()[1]] += 1
    tally.repeated.update(key for key, marks in calls.items() if len(marks) > 1)
    return {key: max(marks.values()) for key, marks in calls.items()}


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
