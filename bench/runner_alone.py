"""`python -m bench.runner_alone`: one Runner and its sidecar without Core's share of the work.

Prints jobs a second and, what noise disturbs less, the CPU time of Runner and sidecar per job.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.lone_runner import LoneRunner
from bench.overlay import build_overlay
from bench.usage import usage

COUNTS = {1: 400, 64: 8_000, 512: 16_000, 1024: 32_000}
WARM_UP = (512, 2_000)


@dataclass(frozen=True, slots=True)
class Alone:
    """One round. CPU is user and system time of the process per job, in microseconds."""

    in_flight: int
    jobs_per_s: float
    p50_ms: float
    p99_ms: float
    runner_cpu_us: float
    sidecar_cpu_us: float


def measure(subject: LoneRunner, in_flight: int, count: int) -> Alone:
    """Run one round."""
    sidecar = int(subject.ask("1 1")["sidecar_pid"])
    before = usage(subject.pid).cpu_s, usage(sidecar).cpu_s
    found = subject.ask(f"{in_flight} {count}")
    spent = usage(subject.pid).cpu_s - before[0], usage(sidecar).cpu_s - before[1]
    return Alone(
        in_flight,
        jobs_per_s=found["jobs_per_s"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        runner_cpu_us=spent[0] / count * 1e6,
        sidecar_cpu_us=spent[1] / count * 1e6,
    )


def lines_of(kind: str) -> str:
    """What the Runner's TOML file says besides."""
    return f"job_slots = 512\n[plugins.noop]\nprewarm = true\nbatch = {str(kind == 'batch').lower()}\n"


def show(console: Console, title: str, rounds: Sequence[Alone]) -> None:
    """Print the medians."""
    table = Table(title=title, title_justify="left")
    for heading in ("in flight", "jobs/s", "p50 ms", "p99 ms", "Runner µs/job", "sidecar µs/job"):
        table.add_column(heading, justify="right")
    for in_flight in sorted({one.in_flight for one in rounds}):
        some = [asdict(one) for one in rounds if one.in_flight == in_flight]
        middle = {name: median(row[name] for row in some) for name in some[0]}
        table.add_row(
            str(in_flight), f"{middle['jobs_per_s']:,.0f}", f"{middle['p50_ms']:.2f}", f"{middle['p99_ms']:.2f}",
            f"{middle['runner_cpu_us']:.0f}", f"{middle['sidecar_cpu_us']:.0f}",
        )  # fmt: skip
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.runner_alone", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every kind (default 3)")
    parser.add_argument("--in-flight", type=int, nargs="*", default=sorted(COUNTS), help="jobs at the Runner at once")
    parser.add_argument("--only", choices=("batch", "single"), help="measure one way of calling the sidecar only")
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    kinds = [kind for kind in ("batch", "single") if options.only in (None, kind)]
    with tempfile.TemporaryDirectory(prefix="aisops-bench-") as folder:
        home = Path(folder)
        python = build_overlay(home / "overlay")
        subjects = {kind: LoneRunner(home / kind, python, lines_of(kind)) for kind in kinds}
        try:
            rounds: dict[str, list[Alone]] = {kind: [] for kind in kinds}
            for turn in range(options.rounds + 1):
                for in_flight in options.in_flight if turn else (WARM_UP[0],):
                    for kind, subject in subjects.items():
                        found = measure(
                            subject, in_flight, COUNTS.get(in_flight, 10 * in_flight) if turn else WARM_UP[1]
                        )
                        rounds[kind] += [found] if turn else []
            for kind in kinds:
                how = "POST /v1/batch" if kind == "batch" else "one HTTP call per job"
                show(console, f"{how}; medians of {options.rounds}", rounds[kind])
        finally:
            for subject in subjects.values():
                subject.stop()


if __name__ == "__main__":
    main()
