"""Core's own ceiling: `python -m bench.core_alone` measures it between a lean submitter and an instant Runner.

The real `aisops-core serve` with every promise on; jobs go in over HTTP, out and back over gRPC, and every result is
read back. The figure to watch is Core's processor time per job, which neighbours on the machine disturb least.
`--shapes 1x512,256x8` chooses what is measured (jobs a request × requests in flight), `--history N` first fills the
database with N ended jobs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import submit
from bench.figures import Figure
from bench.history import fill
from bench.job import Shape
from bench.usage import usage
from demo.stage import ROOT, Stage

SLOTS = 4096


def requests_of(shape: Shape) -> int:
    """Requests of one round: two to four seconds' worth."""
    return max(shape.in_flight * 4, 400 * min(shape.in_flight, 40) if shape.size == 1 else 40_000 // shape.size)


@dataclass(frozen=True)
class Round:
    """What one round measured; processor times are milliseconds per job."""

    figure: Figure
    core_ms: float
    runner_ms: float


class CoreAlone:
    """A Core process and an instant Runner."""

    def __init__(self, home: Path, history: int = 0) -> None:
        self._stage = Stage(home, runner_id="bench")
        self._stage.start_core()
        if history:
            self._stage.core.stop()
            fill(home / "core" / "core.sqlite", history)
            self._stage.start_core()
        self._stage.create_runner()
        self._runner = subprocess.Popen(
            [sys.executable, "-m", "bench.instant_runner", str(self._stage.grpc_port), "bench", str(SLOTS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        if self._runner.stdin is None or self._runner.stdout is None:
            raise RuntimeError("the Runner has no standard streams")
        self._runner.stdin.write((home / "runner-token").read_bytes() + b"\n")
        self._runner.stdin.close()
        if not self._runner.stdout.readline():
            raise RuntimeError("Core did not welcome the Runner")

    def measure(self, shape: Shape) -> Round:
        """Run one round, behind a short one that is not counted."""
        where, requests = (self._stage.url, self._stage.token), requests_of(shape)

        async def rounds() -> Round:
            await submit.send(*where, shape, max(shape.in_flight, requests // 8))
            before = self._cpu_s()
            figure = await submit.send(*where, shape, requests)
            used = [1000 * (now - was) / figure.jobs for now, was in zip(self._cpu_s(), before, strict=True)]
            return Round(figure, *used)

        return submit.run(rounds())

    def _cpu_s(self) -> tuple[float, float]:
        return usage(self._stage.core.pid).cpu_s, usage(self._runner.pid).cpu_s

    def stop(self) -> None:
        """Stop both processes."""
        self._runner.kill()
        self._runner.wait()
        self._stage.stop()


def show(results: list[tuple[Shape, Round]], console: Console) -> None:
    """Print the table."""
    table = Table(title="Core alone", title_justify="left")
    for title in ("submitted", "jobs/s", "p50 ms", "p99 ms", "Core CPU ms/job", "Runner end's CPU ms/job"):
        table.add_column(title, justify="left" if title == "submitted" else "right")
    for shape, one in results:
        figure = one.figure
        table.add_row(str(shape), f"{figure.jobs_per_s:,.0f}", f"{figure.p50_ms:.2f}", f"{figure.p99_ms:.2f}",
                      f"{one.core_ms:.3f}", f"{one.runner_ms:.3f}")  # fmt: skip
    console.print(table)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.core_alone", description=__doc__)
    parser.add_argument("--shapes", default="1x1,1x64,1x512,64x8,256x8", help="jobs a request × requests in flight")
    parser.add_argument("--rounds", type=int, default=1, help="so often each")
    parser.add_argument("--history", type=int, default=0, help="ended jobs in the database before the first round")
    options = parser.parse_args()
    shapes = [Shape(*map(int, text.split("x"))) for text in options.shapes.split(",")] * options.rounds
    with tempfile.TemporaryDirectory(prefix="aisops-bench-") as folder:
        alone = CoreAlone(Path(folder) / "core-alone", options.history)
        try:
            show([(shape, alone.measure(shape)) for shape in shapes], Console(highlight=False, width=120))
        finally:
            alone.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
