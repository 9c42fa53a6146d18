"""Core's own ceiling: `python -m bench.core_alone` measures it between a lean submitter and an instant Runner.

The real `aisops-core serve` with every promise on; jobs go in over HTTP, out and back over gRPC, and every result is
read back. The figure to watch is Core's processor time per job, which neighbours on the machine disturb least.
`--rounds-of single:512,batch:256x8` chooses what is measured, `--history N` first fills the database with N ended jobs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.history import fill
from bench.lean_client import request_of, send_many
from bench.submit import TEXT, run
from demo.stage import ROOT, Stage

SLOTS = 4096
WAIT_S = 30
BATCH = "/api/v1/jobs/batch"
SINGLE = "/api/v1/jobs"


@dataclass(frozen=True)
class Shape:
    """How jobs are submitted: `size` jobs a request (1: the single operation), `parallel` requests at a time."""

    size: int
    parallel: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read `single:64` or `batch:256x8`."""
        kind, _, numbers = text.partition(":")
        size, _, parallel = numbers.partition("x")
        return cls(1, int(size)) if kind == "single" else cls(int(size), int(parallel or 1))

    def __str__(self) -> str:
        if self.size == 1:
            return f"single, {self.parallel} in flight"
        return f"batches of {self.size}, {self.parallel} in flight"

    @property
    def requests(self) -> int:
        """Requests of one round: two to four seconds' worth."""
        return max(self.parallel * 4, 400 * min(self.parallel, 40) if self.size == 1 else 40_000 // self.size)


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
        self.core = psutil.Process(self._stage.core.pid)

    def measure(self, shape: Shape) -> Round:
        """Run one round, behind a short one that is not counted."""
        job = {"capability": "noop.echo", "input": {"text": TEXT}}
        path, body = (SINGLE, job) if shape.size == 1 else (BATCH, {"jobs": [job] * shape.size})
        request = request_of(self._stage.url, path, self._stage.token, json.dumps(body).encode(), WAIT_S)

        def take(answer: bytes) -> None:
            if answer.count(b'"succeeded"') != shape.size or answer.count(TEXT.encode()) != 2 * shape.size:
                raise RuntimeError(f"jobs of the benchmark did not succeed: {answer[:500]!r}")

        async def rounds() -> Round:
            await send_many(self._stage.url, request, shape.parallel, max(shape.parallel, shape.requests // 8), take)
            core, runner = self.core, psutil.Process(self._runner.pid)
            before = _cpu(core), _cpu(runner)
            latencies, elapsed = await send_many(self._stage.url, request, shape.parallel, shape.requests, take)
            jobs = shape.requests * shape.size
            used = [1000 * (_cpu(one) - was) / jobs for one, was in zip((core, runner), before, strict=True)]
            figure = Figure.of(latencies, elapsed)
            return Round(Figure(jobs / elapsed, figure.p50_ms, figure.p99_ms, jobs), *used)

        return run(rounds())

    def stop(self) -> None:
        """Stop both processes."""
        self._runner.kill()
        self._runner.wait()
        self._stage.stop()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


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


def main(during: Callable[[CoreAlone], None] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.core_alone", description=__doc__)
    parser.add_argument(
        "--rounds-of", default="single:1,single:64,single:512,batch:64x8,batch:256x8", help="what to measure"
    )
    parser.add_argument("--rounds", type=int, default=1, help="so often each")
    parser.add_argument("--history", type=int, default=0, help="ended jobs in the database before the first round")
    options = parser.parse_args()
    shapes = [Shape.parse(text) for text in options.rounds_of.split(",")] * options.rounds
    with tempfile.TemporaryDirectory(prefix="aisops-bench-") as folder:
        alone = CoreAlone(Path(folder) / "core-alone", options.history)
        try:
            if during is not None:
                during(alone)
            show([(shape, alone.measure(shape)) for shape in shapes], Console(highlight=False, width=120))
        finally:
            alone.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
