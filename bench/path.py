"""Our whole durable path: HTTP submit, Core's commit, mTLS stream, Runner's journal, a sidecar, and all the way back.

Every promise is on: SQLite with synchronous=FULL on both ends, certificates on both ends of the stream, signed sidecar
calls, policy, audit, and the result read back by the submitter, which is a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.authority import Authority
from bench.figures import Figure
from bench.history import fill
from bench.job import CAPABILITY, Shape
from demo.stage import Stage

SLOTS = 2048


@dataclass(frozen=True, slots=True)
class Setting:
    """What is special about one set-up.

    Attributes:
        batch: Whether the Runner may hand the plugin many calls in one request (False: a foreign plugin).
        history: Ended jobs in Core's database before the first round.
        core_options: Further options of `aisops-core serve`.
        wrap: A command both programs are run under.
    """

    batch: bool = True
    history: int = 0
    core_options: tuple[str, ...] = ()
    wrap: Sequence[str | Path] = ()


class DurablePath:
    """Core and one Runner as processes, in a folder of their own."""

    def __init__(self, home: Path, python: Path, authority: Authority, setting: Setting | None = None) -> None:
        setting = setting or Setting()
        self._stage = stage = Stage(
            home,
            runner_id="bench",
            runner_lines=(f"job_slots = {SLOTS}", *authority.runner_lines),
            core_options=(*authority.core_options, "--http-plaintext", *setting.core_options),
            grpc_scheme="https",
        )
        try:
            self._start(python, setting)
        except BaseException:
            stage.stop()
            raise

    def _start(self, python: Path, setting: Setting) -> None:
        stage = self._stage
        stage.start_core()
        if setting.history:
            stage.core.stop()
            fill(stage.home / "core" / "core.sqlite", setting.history)
        if setting.history or setting.wrap:
            stage.core.stop()
            stage.core.command = [*setting.wrap, *stage.core.command]
            stage.start_core()
        stage.runner.command = [*setting.wrap, python, "-m", "aisops_runner", "run", "--config", stage.runner_config]
        stage.create_runner()
        with stage.runner_config.open("a") as config:
            config.write(f"[plugins.noop]\nprewarm = true\nbatch = {str(setting.batch).lower()}\n")
        stage.start_runner()
        stage.runner.wait_for(self.ready, "the Runner offering the plugin", 60)

    def ready(self) -> bool:
        """Whether Core knows that the Runner is there and offers the plugin."""
        return CAPABILITY in (self._stage.connected_runner() or {}).get("capabilities", ())

    @property
    def stage(self) -> Stage:
        """The programs."""
        return self._stage

    def measure(self, shape: Shape, requests: int) -> Figure:
        """Run one round from a submitter in its own process.

        Raises:
            RuntimeError: The submitter failed, or found a job that did not succeed.
        """
        arguments = (self._stage.url, str(shape.size), str(shape.in_flight), str(requests))
        done = subprocess.run(
            [sys.executable, "-m", "bench.submit", *arguments],
            input=self._stage.token + "\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"the submitter ended with {done.returncode}")
        return Figure(**json.loads(done.stdout))

    def stop(self) -> None:
        """Stop both programs."""
        self._stage.stop()
