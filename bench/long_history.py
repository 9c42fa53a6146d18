"""A database with a million jobs that have ended: what they cost those that come, and what deleting them costs."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bench.figures import times
from bench.job import Shape
from bench.path import DurablePath, Setting
from bench.run import Round, Run
from bench.table import Line

ENDED = 1_000_000
SHAPE, CALM = Shape(1, 512), Shape(1, 64)
REQUESTS, CALM_REQUESTS = 4000, 1500
EMPTY, FULL, SHRINKING = "empty database", "a million ended jobs", "a million ended jobs being deleted"
WHAT = "long history"
RETAIN_S = 14 * 86_400


def long_history(run: Run) -> None:
    """Compare an empty Core with one that has a long history, and with one that is deleting it."""
    ended = run.times(ENDED, 10_000)
    settings = {EMPTY: Setting(), FULL: Setting(history=ended)}
    paths: dict[str, DurablePath] = {}
    for name, setting in settings.items():
        run.say(f"setting up: {name}")
        paths[name] = DurablePath(run.home / f"history-{len(paths)}", run.python, run.authority, setting)
        run.stack.callback(paths[name].stop)
    run.interleave(
        {(f"{WHAT}: {name}", str(SHAPE)): _round(path, SHAPE, run.times(REQUESTS, 512)) for name, path in paths.items()}
    )
    flat = times(*(run.measurements.get((f"{WHAT}: {name}", str(SHAPE))) for name in (FULL, EMPTY)))
    figure = "failed" if flat is None else f"{100 * flat:.0f} % of an empty database's throughput"
    how = f"{ended:,} ended jobs, {SHAPE}"
    met = None if flat is None else flat >= 0.9
    run.lines.append(Line(WHAT, how, figure, target="≥ 90 %", met=met, values={"share": flat or 0.0}))
    _while_deleting(run, paths)
    for path in paths.values():
        path.stop()


def _while_deleting(run: Run, paths: dict[str, DurablePath]) -> None:
    """Start the full Core again with a shorter retention, and measure while it deletes everything."""
    full = paths[FULL].stage
    full.core.stop()
    full.core.env = {**full.core.env, "AISOPSFLOW_RETAIN_JOBS_S": str(RETAIN_S)}
    full.start_core()
    full.core.wait_for(paths[FULL].ready, "the Runner coming back", 60)
    requests = run.times(CALM_REQUESTS, CALM.in_flight)
    subjects = {EMPTY: paths[EMPTY], SHRINKING: paths[FULL]}
    run.interleave({(f"{WHAT}: {name}", str(CALM)): _round(path, CALM, requests) for name, path in subjects.items()})
    left = _jobs_left(full.home)
    calm, busy = (run.measurements.get((f"{WHAT}: {name}", str(CALM))) for name in subjects)
    if calm is None or busy is None:
        run.lines.append(Line("retention deletes", str(CALM), "failed", target="p99 unaffected (≤ 1.25 ×)"))
        return
    more = busy.median.p99_ms / calm.median.p99_ms
    figure = f"p99 {calm.median.p99_ms:.0f} → {busy.median.p99_ms:.0f} ms: {more:.2f} × ({left:,} jobs left to delete)"
    line = Line("retention deletes", f"{CALM}, {SHRINKING}", figure, f"{busy.median.p50_ms:.1f}",
                f"{busy.median.p99_ms:.1f}", target="p99 unaffected (≤ 1.25 ×)", met=more <= 1.25 and left > 0,
                values={"p99_times": more, "left": left})  # fmt: skip
    run.lines.append(line)


def _jobs_left(home: Path) -> int:
    """How many jobs of the long history are still there; with none left, nothing was measured."""
    ended_before_ms = time.time_ns() // 1_000_000 - 1000 * RETAIN_S
    with closing(sqlite3.connect(f"file:{home / 'core' / 'core.sqlite'}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT count(*) FROM jobs WHERE finished_unix_ms < ?", (ended_before_ms,)).fetchone()
    return int(found[0])


def _round(path: DurablePath, shape: Shape, requests: int) -> Round:
    return lambda: path.measure(shape, requests)
