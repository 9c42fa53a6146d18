"""Many Runners on one Core over mTLS: what they cost when nothing happens, and how fast they are all back."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bench.fleets import Fleets
from bench.run import FAILURES, Run
from bench.table import Line
from bench.usage import Usage, usage
from demo.program import get_text, wait_until
from demo.stage import Stage

IDLE_S = 20.0
PROCESSES = 2
FILES_BESIDE = 500
WHAT = "Runner streams over mTLS"


def idle_and_back(run: Run) -> None:
    """Connect 1,000 and then 10,000 Runners, leave them alone, lose them all, have them back."""
    for wanted, back_s, idle in ((1_000, 5.0, False), (10_000, 25.0, True)):
        count = run.times(wanted, 50)
        try:
            run.lines += _measure(run, count, back_s, idle=idle)
        except FAILURES as error:
            run.leave_out(f"{count:,} {WHAT}", f"it failed: {error}")
            run.lines.append(Line(WHAT, f"{count:,}", "failed", target=f"all back in < {back_s:.0f} s"))


def _measure(run: Run, count: int, back_s: float, *, idle: bool) -> list[Line]:
    _need_files(count)
    home = run.home / f"streams-{count}"
    stage = Stage(home, core_options=(*run.authority.core_options, "--http-plaintext"), grpc_scheme="https")
    made = subprocess.run(
        [sys.executable, "-m", "bench.provision", str(home / "core"), str(count)], stdout=subprocess.PIPE, check=True
    )
    stage.start_core()
    run.stack.callback(stage.stop)
    before = usage(stage.core.pid)
    fleets = Fleets(f"127.0.0.1:{stage.grpc_port}", run.authority, json.loads(made.stdout), home, PROCESSES)
    run.stack.callback(fleets.kill)
    first = _together(run, stage, fleets, f"{count:,} Runners connect")
    lines = _idle(run, stage.core.pid, fleets, count, before) if idle else []
    fleets.all("drop")
    wait_until(lambda: _open_streams(stage) == 0, "Core noticing that every stream is gone", 60)
    again = _together(run, stage, fleets, f"{count:,} Runners come back at once")
    peak = usage(stage.core.pid).rss_mib
    fleets.kill()
    stage.stop()
    shutil.rmtree(home, ignore_errors=True)
    slower = max(first, again, key=lambda one: one[0])
    elapsed, core_cpu, fleet_cpu = slower
    figure = (
        f"{elapsed:.1f} s (first time {first[0]:.1f}, again {again[0]:.1f}); processor {core_cpu:.1f} s Core,"
        f" {fleet_cpu:.1f} s the Runners' side"
    )
    values = {"first_s": first[0], "again_s": again[0], "core_cpu_s": core_cpu, "fleet_cpu_s": fleet_cpu,
              "rss_mib": peak}  # fmt: skip
    target = f"all in < {back_s:.0f} s" + (", RSS < 250 MiB" if count == 1_000 else "")
    met = elapsed < back_s and (count != 1_000 or peak < 250)
    figure += f"; RSS {peak:.0f} MiB"
    return [*lines, Line("reconnect at once", f"{count:,} Runners", figure, target=target, met=met, values=values)]


def _together(run: Run, stage: Stage, fleets: Fleets, what: str) -> tuple[float, float, float]:
    """Everybody dials now: seconds until the last is welcome, and processor seconds of Core and of the fleets."""
    core, theirs = usage(stage.core.pid).cpu_s, _fleet_cpu(fleets)
    begun = time.monotonic()
    fleets.all("connect 0")
    elapsed = time.monotonic() - begun
    run.say(f"{what}: {elapsed:.1f} s")
    return elapsed, usage(stage.core.pid).cpu_s - core, _fleet_cpu(fleets) - theirs


def _idle(run: Run, pid: int, fleets: Fleets, count: int, empty: Usage) -> list[Line]:
    time.sleep(5)
    fleets.all("figures")
    begun, used = time.monotonic(), usage(pid).cpu_s
    time.sleep(IDLE_S)
    after, elapsed = usage(pid), time.monotonic() - begun
    share = 100 * (after.cpu_s - used) / elapsed
    seen = fleets.all("figures")
    beats = sum(one["count"].get("pongs", 0) for one in seen)
    trip = max(float(one.get("rtt_p99_ms", 0.0)) for one in seen)
    run.say(f"{count:,} idle: {after.rss_mib:.0f} MiB, {share:.1f} % of one core")
    figure = f"{after.rss_mib:.0f} MiB, {share:.1f} % of one core ({beats / elapsed:.0f} heartbeats/s)"
    values = {"rss_mib": after.rss_mib, "empty_rss_mib": empty.rss_mib, "cpu_percent": share, "beat_p99_ms": trip}
    met = after.rss_mib <= 1024 and share <= 25
    target = "≤ 1,024 MiB, ≤ 25 % of one core"
    return [Line(WHAT, f"{count:,} idle", figure, "", f"{trip:.1f}", target=target, met=met, values=values)]


def _fleet_cpu(fleets: Fleets) -> float:
    return sum(usage(process.pid).cpu_s for process in fleets.processes)


def _open_streams(stage: Stage) -> int:
    lines = get_text(f"{stage.url}/metrics").splitlines()
    found = [line.rpartition(" ")[2] for line in lines if line.startswith("aisops_core_runner_streams ")]
    return int(float(found[0])) if found else 0


def _need_files(count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + FILES_BESIDE:
        raise RuntimeError(f"a process may have {hard} open files here, and {count + FILES_BESIDE} are needed")
    if not Path("/proc").is_dir():
        raise OSError("what processes use is read from /proc, which is not here")
