"""Our whole durable path: HTTP submit, Core's commit, gRPC, the Runner's journal, a sidecar, and all the way back.

Every promise is on: SQLite with synchronous=FULL on both ends, signed sidecar calls, result read back by the submitter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.figures import Figure
from demo.stage import Stage


class DurablePath:
    """Core and one Runner as processes, in a folder of their own."""

    def __init__(self, home: Path, python: Path) -> None:
        self._stage = Stage(home, runner_id="bench", runner_lines=("job_slots = 512",))
        self._stage.runner.command = [
            python, "-m", "aisops_runner", "run", "--config", self._stage.runner_config,
        ]  # fmt: skip
        self._stage.start_core()
        self._stage.create_runner()
        self._stage.start_runner()

    def measure(self, in_flight: int, count: int) -> Figure:
        """Run one round from a submitter in its own process."""
        done = subprocess.run(
            [sys.executable, "-m", "bench.submit", self._stage.url, str(in_flight), str(count)],
            input=self._stage.token.encode() + b"\n",
            stdout=subprocess.PIPE,
            check=True,
        )
        return Figure(**json.loads(done.stdout))

    def stop(self) -> None:
        """Stop both programs."""
        self._stage.stop()
