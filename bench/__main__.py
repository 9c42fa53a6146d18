"""`make bench`: one table, one run, one machine; medians over interleaved rounds, with ratios, targets and verdicts.

Read ratios, not absolutes: disks and neighbours change between runs, hardly within one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import grpc
from rich.console import Console

from bench import drain, long_history, memory, slow_disk, streams, table, throughput
from bench.authority import make_authority
from bench.overlay import build_overlay
from bench.run import FAILURES, Run
from bench.throughput import BATCHES, FOREIGN, OURS, SINGLE

Group = Callable[[Run], None]


def _jobs(run: Run) -> None:
    throughput.jobs(run, {OURS: (*SINGLE, *BATCHES), FOREIGN: (*SINGLE[2:], *BATCHES[2:])})


GROUPS: Mapping[str, Group] = {
    "limits": throughput.limits,
    "jobs": _jobs,
    "streams": streams.idle_and_back,
    "slow-disk": slow_disk.slow_disk,
    "drain": drain.drain,
    "memory": memory.idle_runner,
    "history": long_history.long_history,
}


def main() -> int:
    """Measure and print; exit 0 when everything that could be measured was, 1 when something of ours failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", default="", help=f"which groups of rows, by comma: {', '.join(GROUPS)} (default all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every subject (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the amount of work (default 1.0)")
    parser.add_argument("--no-peers", action="store_true", help="leave the other task queues out")
    parser.add_argument("--json", type=Path, help="write the figures into this file as well (see bench.table)")
    options = parser.parse_args()
    wanted = [name for name in options.rows.split(",") if name] or list(GROUPS)
    if unknown := set(wanted) - set(GROUPS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that everything is stopped
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 220)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aisops-bench-") as folder:
        run = measure(Path(folder), wanted, options, console)
    note = (
        f"medians of {options.rounds} rounds; Python {platform.python_version()}, grpcio {grpc.__version__},"
        f" {platform.system()} {platform.machine()}, {os.cpu_count()} processors;"
        f" {(time.monotonic() - begun) / 60:.0f} min"
    )
    table.show(run.lines, note, console)
    for left_out in run.left_out:
        console.print(f"left out: {left_out}")
    if options.json:
        kept = {"note": note, "lines": [asdict(line) for line in run.lines], "left_out": run.left_out}
        options.json.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return 1 if any(line.figure == "failed" for line in run.lines) else 0


def measure(home: Path, wanted: list[str], options: argparse.Namespace, console: Console) -> Run:
    """Run the groups one after the other; each stops what it started before the next begins."""
    run = Run(
        home, build_overlay(home / "overlay"), make_authority(home / "tls"), options.rounds, options.scale, console,
        not options.no_peers, contextlib.ExitStack(),
    )  # fmt: skip
    for name in wanted:
        console.print(f"{name}:")
        with contextlib.ExitStack() as stack:
            run.stack = stack
            try:
                GROUPS[name](run)
            except FAILURES as error:
                run.leave_out(name, f"it failed: {error}")
                run.lines.append(table.Line(name, "", "failed"))
    return run


if __name__ == "__main__":
    sys.exit(main())
