"""The backlog of an outage: how fast a Runner hands it over, and how fast it is in Core's database.

Two figures. The Runner's side alone, against a Core end that keeps up with anything (results and accepts of jobs). And
the whole way into a real Core over mTLS, until its watermark stands behind the last message (log lines of the Runner).
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path

from aisops_protocol.messages import LogEvent, LogLevel
from aisops_runner.outbox.outbox import Outbox
from bench.job import TEXT
from bench.path import DurablePath
from bench.run import FAILURES, Run
from bench.runner_drain import hand_over
from bench.table import Line
from demo.program import wait_until

MESSAGES = 300_000
AT_ONCE = 5_000
WHAT, TARGET = "drain of a backlog", "≥ 30,000 messages/s"
LEAST = 30_000
_ARRIVED = "SELECT coalesce(max(seq), 0) FROM watermarks"


def drain(run: Run) -> None:
    """Measure both."""
    messages = run.times(MESSAGES, 10_000)
    for how, measure in (("the Runner's side", _handed_over), ("into Core's database, mTLS", _into_core)):
        rates: list[float] = []
        try:
            for turn in range(min(3, run.rounds)):
                rates.append(measure(run, messages, turn))
                run.say(f"round {turn + 1}  {WHAT}, {how}: {rates[-1]:,.0f} messages/s")
        except FAILURES as error:
            run.leave_out(f"{WHAT}, {how}", f"it failed: {str(error)[:200]}")
            run.lines.append(Line(WHAT, how, "failed", target=TARGET))
            continue
        rate = statistics.median(rates)
        figure, met = f"{rate:,.0f} messages/s", rate >= LEAST
        what = f"{messages:,} messages, {how}"
        run.lines.append(Line(WHAT, what, figure, target=TARGET, met=met, values={"per_s": rate}))


def _handed_over(run: Run, messages: int, turn: int) -> float:
    return hand_over(run.home / f"handed-over-{turn}", messages)["messages_per_s"]


def _into_core(run: Run, messages: int, turn: int) -> float:
    """Stop the Runner, fill its outbox, start it, and watch the watermark in Core's file."""
    home = run.home / f"drain-{turn}"
    path = DurablePath(home, run.python, run.authority)
    run.stack.callback(path.stop)
    stage = path.stage
    stage.runner.stop()
    asyncio.run(_fill(home / "runner", messages))
    with closing(sqlite3.connect(f"file:{home / 'core' / 'core.sqlite'}?mode=ro", uri=True)) as database:

        def arrived() -> int:
            return int(database.execute(_ARRIVED).fetchone()[0])

        before = arrived()
        stage.runner.start()
        stage.runner.wait_for(lambda: arrived() > before, "the first message's commit", 60)
        first, begun = arrived(), time.perf_counter()
        wait_until(lambda: arrived() >= before + messages, "the last message's commit", 120)
        rate = (before + messages - first) / (time.perf_counter() - begun)
    path.stop()
    return rate


async def _fill(folder: Path, messages: int) -> None:
    outbox = await Outbox.open(folder)
    for first in range(0, messages, AT_ONCE):
        count = min(AT_ONCE, messages - first)
        await outbox.put(*(LogEvent(LogLevel.INFO, TEXT, 1, source="bench") for _ in range(count)))
    await outbox.close()
