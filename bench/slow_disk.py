"""A disk whose fsync takes thirty times as long, under Core and Runner both: what is left of the throughput.

strace delays every fsync and fdatasync of both programs in the kernel's name, so nothing of ours knows of it. With its
seccomp filter all other system calls run at full speed; the figure without delay is taken under the same strace.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import partial

from bench.bare_commit import BareCommit
from bench.job import Shape
from bench.path import DurablePath, Setting
from bench.run import FAILURES, Run
from bench.table import Line

SLOWER = 30
SHAPE = Shape(1, 512)
REQUESTS = 3000
WHAT = "fsync made 30 × slower"
CALLS = "fsync,fdatasync"
TARGET = "throughput falls ≤ 2 ×"


def slow_disk(run: Run) -> None:
    """Measure single submits at 512 in flight on the disk as it is and on one that is thirty times slower."""
    if why := _missing():
        run.leave_out(WHAT, why)
        run.lines.append(Line(WHAT, str(SHAPE), "not measured", target=TARGET))
        return
    bare = BareCommit(run.home / "fsync")
    commit_ms = bare.measure(1, 200).p50_ms
    bare.stop()
    delay_us = round((SLOWER - 1) * commit_ms * 1000)
    run.say(f"a commit takes {commit_ms:.2f} ms here; each fsync is delayed by {delay_us / 1000:.1f} ms")
    paths: dict[str, DurablePath] = {}
    try:
        for name, microseconds in (("as it is", 0), ("slow", delay_us)):
            setting = Setting(wrap=_strace(microseconds))
            paths[name] = DurablePath(run.home / f"slow-{microseconds}", run.python, run.authority, setting)
            run.stack.callback(paths[name].stop)
    except FAILURES as error:
        run.leave_out(WHAT, f"it did not come up under strace: {str(error).splitlines()[0][:200]}")
        run.lines.append(Line(WHAT, str(SHAPE), "not measured", target=TARGET))
        return
    requests = run.times(REQUESTS, SHAPE.in_flight)
    run.interleave(
        {(f"{WHAT}: {name}", str(SHAPE)): partial(path.measure, SHAPE, requests) for name, path in paths.items()}
    )
    for path in paths.values():
        path.stop()
    run.lines.append(_line(run, commit_ms, delay_us))


def _line(run: Run, commit_ms: float, delay_us: int) -> Line:
    plain, slow = (run.measurements.get((f"{WHAT}: {name}", str(SHAPE))) for name in ("as it is", "slow"))
    if plain is None or slow is None:
        return Line(WHAT, str(SHAPE), "failed", target=TARGET)
    falls = plain.median.jobs_per_s / slow.median.jobs_per_s
    figure = f"{plain.median.jobs_per_s:,.0f} → {slow.median.jobs_per_s:,.0f} jobs/s: {falls:.2f} × less"
    how = f"{SHAPE}, commit {commit_ms:.2f} ms + {delay_us / 1000:.1f} ms"
    values = {"falls": falls, "commit_ms": commit_ms, "delay_ms": delay_us / 1000}
    p50, p99 = f"{slow.median.p50_ms:.1f}", f"{slow.median.p99_ms:.1f}"
    return Line(WHAT, how, figure, p50, p99, target=TARGET, met=falls <= 2, values=values)


def _strace(microseconds: int) -> tuple[str, ...]:
    inject = f"inject={CALLS}:delay_exit={microseconds}" if microseconds else f"trace={CALLS}"
    return ("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", inject)


def _missing() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = subprocess.run([*_strace(0), "true"], capture_output=True, check=False, timeout=20)
    return "" if probe.returncode == 0 else "strace may not trace here"
