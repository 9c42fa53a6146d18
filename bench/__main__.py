"""`make bench`: one table, one run, one machine; medians over interleaved rounds, with ratios.

Read ratios, not absolutes: disks and neighbours change between runs, hardly within one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.celery_peer import CeleryPeer, missing
from bench.figures import Figure, Measurement, ratio
from bench.hop import Hop
from bench.overlay import build_overlay
from bench.path import DurablePath

IN_FLIGHT = (1, 64, 512)
HOP, PATH = "bare signed HTTP hop (the limit)", "AIsOpsFlow, whole durable path"
CELERY_FAST, CELERY_DURABLE = "Celery + Redis (in memory, ack before work)", "Celery + Redis (AOF always, acks_late)"
Round = Callable[[int, int], Figure]


def count_for(subject: str, in_flight: int, scale: float) -> int:
    """Jobs a round sends: enough for a steady figure, few enough to stay bearable at that subject's speed."""
    base = {1: 300, 64: 3000, 512: 6000}[in_flight]
    return max(in_flight, int(base * scale * (3 if subject == HOP else 1 if subject == PATH else 0.5)))


class Bench:
    """Collects rounds of every subject and shows them."""

    def __init__(self, rounds: int, scale: float, console: Console) -> None:
        self._rounds, self._scale, self._console = rounds, scale, console
        self._figures: dict[tuple[str, int], list[Figure]] = {}

    def run(self, subjects: dict[str, Round]) -> None:
        """Interleave the subjects, so that all of them meet the same moods of the machine."""
        for turn in range(self._rounds):
            for in_flight in IN_FLIGHT:
                for subject, measure in subjects.items():
                    self._console.print(
                        f"  round {turn + 1}/{self._rounds}  {in_flight:>3} in flight  {subject} …", end=""
                    )
                    figure = measure(in_flight, count_for(subject, in_flight, self._scale))
                    self._figures.setdefault((subject, in_flight), []).append(figure)
                    self._console.print(f" {figure.jobs_per_s:,.0f} jobs/s")

    def measurements(self) -> dict[tuple[str, int], Measurement]:
        """Everything measured, by subject and jobs in flight."""
        return {key: Measurement(*key, tuple(figures)) for key, figures in self._figures.items()}

    def show(self, note: str) -> None:
        """Print the table with ratios."""
        results = self.measurements()
        table = Table(title=f"medians of {self._rounds} rounds; {note}", title_justify="left")
        for title in ("subject", "in flight", "jobs/s", "p50 ms", "p99 ms", "of the limit", "Celery (AOF always) = 1"):
            table.add_column(title, justify="left" if title == "subject" else "right")
        for (subject, in_flight), result in sorted(results.items(), key=lambda item: item[0][1]):
            median = result.median
            limit, peer = results.get((HOP, in_flight)), results.get((CELERY_DURABLE, in_flight))
            table.add_row(subject, str(in_flight), f"{median.jobs_per_s:,.0f}", f"{median.p50_ms:.2f}",
                          f"{median.p99_ms:.2f}", ratio(result, limit), ratio(result, peer))  # fmt: skip
        self._console.print(table)


def main() -> int:
    """Measure and print; exit 0 when every round went through."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every subject (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the number of jobs (default 1.0)")
    parser.add_argument("--no-peers", action="store_true", help="leave Celery out")
    parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    options = parser.parse_args()
    console = Console(stderr=options.json, highlight=False, width=None if sys.stdout.isatty() else 150)
    bench = Bench(options.rounds, options.scale, console)
    with tempfile.TemporaryDirectory(prefix="aisops-bench-") as folder:
        measure_all(bench, Path(folder), console, peers=not options.no_peers)
    bench.show(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    if options.json:
        rows = [
            {"subject": m.subject, "in_flight": m.in_flight, **m.median.document()}
            for m in bench.measurements().values()
        ]
        print(json.dumps(rows))
    return 0


def measure_all(bench: Bench, home: Path, console: Console, *, peers: bool) -> None:
    """Start every subject, run the rounds, stop everything."""
    python = build_overlay(home / "overlay")
    hop = Hop(python)
    path = DurablePath(home / "path", python)
    stops: list[Callable[[], None]] = [hop.stop, path.stop]
    subjects: dict[str, Round] = {
        HOP: lambda in_flight, count: asyncio.run(hop.measure(in_flight, count)),
        PATH: path.measure,
    }
    try:
        if peers and not (why := missing()):
            for subject, durable in ((CELERY_FAST, False), (CELERY_DURABLE, True)):
                peer = CeleryPeer(home / ("durable" if durable else "fast"), durable=durable)
                stops.append(peer.stop)
                subjects[subject] = peer.measure
        elif peers:
            console.print(f"Celery is left out: {why}")
        bench.run(subjects)
    finally:
        for stop in reversed(stops):
            stop()


if __name__ == "__main__":
    sys.exit(main())
