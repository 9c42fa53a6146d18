"""Jobs per second and latency: ours in every shape, the limits below it, and the peers beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from bench.bare_commit import BareCommit
from bench.bare_stream import BareStream
from bench.figures import Figure, Measurement, ratio, times
from bench.hop import Hop
from bench.job import Shape
from bench.path import DurablePath, Setting
from bench.peers import peer
from bench.run import FAILURES, Round, Run
from bench.table import Line

OURS, FOREIGN = "AIsOpsFlow", "AIsOpsFlow, plugin with one HTTP call per job"
HOP, STREAM, COMMIT = "limit: bare signed HTTP hop", "limit: bare gRPC stream, mTLS", "limit: bare group commit"
SINGLE = (Shape(1, 1), Shape(1, 64), Shape(1, 512))
BATCHES = (Shape(64, 8), Shape(64, 32), Shape(256, 8))
REQUESTS = {Shape(1, 1): 200, Shape(1, 64): 3000, Shape(1, 512): 6000, Shape(64, 8): 200, Shape(64, 32): 300,
            Shape(256, 8): 60}  # fmt: skip
PEER_JOBS = {1: 80, 64: 400, 512: 800}
QUICK_PEERS = frozenset({"dramatiq_task", "arq_task", "taskiq_task"})
BEST = str(Shape(1, 512))


def limits(run: Run) -> None:
    """What the machine can do without us: one hop, one stream, one disk."""
    hop, stream, commit = Hop(run.python), BareStream(run.authority), BareCommit(run.home / "bare")
    run.stack.callback(hop.stop)
    run.stack.callback(stream.stop)
    run.stack.callback(commit.stop)

    def of_hop(in_flight: int, count: int) -> Round:
        return lambda: asyncio.run(hop.measure(in_flight, run.times(count, in_flight)))

    subjects: dict[tuple[str, str], Round] = {
        (HOP, str(Shape(1, in_flight))): of_hop(in_flight, count)
        for in_flight, count in ((1, 600), (64, 6000), (512, 6000))
    }
    subjects[STREAM, "1 per frame, 1 under way"] = lambda: stream.measure(1, run.times(1000))
    subjects[STREAM, "64 per frame, echoed"] = lambda: stream.measure(64, run.times(2000))
    subjects[COMMIT, "1 row a commit"] = lambda: commit.measure(1, run.times(500))
    subjects[COMMIT, "64 rows a commit"] = lambda: commit.measure(64, run.times(300))
    run.interleave(subjects)
    run.lines += [_line(run, key) for key in subjects]


def jobs(run: Run, shapes: Mapping[str, Iterable[Shape]]) -> None:
    """Our path in these shapes, beside every peer that can be run here.

    Args:
        run: The run.
        shapes: What to measure of `OURS` and of `FOREIGN`.
    """
    subjects: dict[tuple[str, str], Round] = {}
    for name, wanted in shapes.items():
        path = DurablePath(run.home / f"path-{len(subjects)}", run.python, run.authority, Setting(batch=name == OURS))
        run.stack.callback(path.stop)
        for shape in wanted:
            subjects[name, str(shape)] = _of_path(path, shape, run.times(REQUESTS[shape], shape.in_flight))
    if run.peers:
        for kind in peer.ALL:
            for shape, measure in _peer_rounds(run, kind).items():
                subjects[f"{kind.name} ({peer.version_of(kind)})", str(shape)] = measure
    run.interleave(subjects)
    run.lines += [_line(run, key) for key in subjects]


def _of_path(path: DurablePath, shape: Shape, requests: int) -> Callable[[], Figure]:
    return lambda: path.measure(shape, requests)


def _peer_rounds(run: Run, kind: peer.Kind) -> dict[Shape, Round]:
    if why := kind.missing():
        run.leave_out(kind.name, why)
        return {}
    try:
        running = peer.Peer(kind, run.home / f"peer-{kind.tasks}-{int(kind.durable)}")
    except FAILURES as error:
        run.leave_out(kind.name, f"it did not come up: {str(error).splitlines()[-1][:200]}")
        return {}
    run.stack.callback(running.stop)
    factor = 3 if kind.tasks in QUICK_PEERS else 1

    def of(shape: Shape) -> Round:
        count = run.times(PEER_JOBS[shape.in_flight] * (factor if shape.in_flight > 1 else 1), shape.in_flight)
        return lambda: running.measure(shape.in_flight, count)

    return {shape: of(shape) for shape in SINGLE}


# --- the lines --------------------------------------------------------------------------------------------------------


def _find(run: Run, name: str, how: str) -> Measurement | None:
    """A measurement by the beginning of its name: peers carry their version behind it."""
    return next((m for (what, as_), m in run.measurements.items() if as_ == how and what.startswith(name)), None)


def _celery(run: Run, how: str) -> Measurement | None:
    return _find(run, peer.CELERY_DURABLE.name, how)


def _line(run: Run, key: tuple[str, str]) -> Line:
    what, how = key
    found = run.measurements.get(key)
    if found is None:
        target, _ = _target(run, key, None)
        return Line(what, how, "failed", target=target)
    middle = found.median
    unit = "msg/s" if what == STREAM else "rows/s" if what == COMMIT else "jobs/s"
    beside = how if how in {str(shape) for shape in SINGLE} else BEST  # batches: beside what is fastest without them
    limit, celery, dramatiq = (
        _find(run, HOP, beside), _celery(run, beside), _find(run, peer.DRAMATIQ.name, beside)
    )  # fmt: skip
    compared = unit == "jobs/s"
    target, met = _target(run, key, found)
    return Line(
        what,
        how,
        f"{middle.jobs_per_s:,.0f} {unit}",
        f"{middle.p50_ms:.2f}",
        f"{middle.p99_ms:.2f}",
        (ratio(found, limit), ratio(found, celery), ratio(found, dramatiq)) if compared else ("", "", ""),
        target,
        met,
        {"per_s": middle.jobs_per_s, "p50_ms": middle.p50_ms, "p99_ms": middle.p99_ms,
         "least_per_s": min(one.jobs_per_s for one in found.rounds),
         "most_per_s": max(one.jobs_per_s for one in found.rounds)},
    )  # fmt: skip


def _target(run: Run, key: tuple[str, str], found: Measurement | None) -> tuple[str, bool | None]:
    """What was promised for this line, and whether it was kept."""
    what, how = key
    celery, dramatiq = _celery(run, BEST), _find(run, peer.DRAMATIQ.name, BEST)
    if key == (OURS, str(Shape(1, 1))):
        peer_one = _celery(run, how)
        if found is None or peer_one is None:
            return "p50 and p99 ≤ Celery AOF", None
        ours, theirs = found.median, peer_one.median
        return "p50 and p99 ≤ Celery AOF", ours.p50_ms <= theirs.p50_ms and ours.p99_ms <= theirs.p99_ms
    if key == (OURS, BEST):
        return "≥ 10 × Celery AOF, ≥ 3 × dramatiq", _both(times(found, celery), 10, times(found, dramatiq), 3)
    if what == OURS and how == str(Shape(64, 32)):
        return "≥ 40 × Celery AOF, ≥ 10 × dramatiq", _both(times(found, celery), 40, times(found, dramatiq), 10)
    if what == FOREIGN and how == str(Shape(256, 8)):
        multiple = times(found, celery)
        return "≥ 10 × Celery AOF", None if multiple is None else multiple >= 10
    return "", None


def _both(one: float | None, least: float, other: float | None, least_other: float) -> bool | None:
    return None if one is None or other is None else one >= least and other >= least_other
