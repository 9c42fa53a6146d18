"""What every group of rows is given, and how rounds are interleaved."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench.authority import Authority
from bench.figures import Figure, Measurement
from bench.table import Line
from demo.program import StageError

Round = Callable[[], Figure]
FAILURES = (RuntimeError, OSError, ValueError, subprocess.SubprocessError, StageError)
"""What a subject may fail with: it is left out then, visibly, and the others go on."""


@dataclass
class Run:
    """One run of the benchmark: where it works, how much, and what it has found so far."""

    home: Path
    python: Path
    authority: Authority
    rounds: int
    scale: float
    console: Console
    peers: bool
    stack: contextlib.ExitStack
    measurements: dict[tuple[str, str], Measurement] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def times(self, count: int, least: int = 1) -> int:
        """A number of requests at this run's scale."""
        return max(least, round(count * self.scale))

    def say(self, text: str) -> None:
        """Show progress."""
        self.console.print(f"  {text}")

    def leave_out(self, what: str, why: str) -> None:
        """Say what cannot be measured here."""
        self.left_out.append(f"{what}: {why}")
        self.say(f"left out: {what}: {why}")

    def interleave(self, subjects: Mapping[tuple[str, str], Round], rounds: int | None = None) -> None:
        """Run the rounds of all subjects in turn, so that all of them meet the same moods of the machine.

        The order changes from turn to turn. A subject that fails is left out from then on, visibly.
        """
        found: dict[tuple[str, str], list[Figure]] = {}
        rest, turns = dict(subjects), rounds or self.rounds
        for turn in range(turns):
            order = list(rest.items())
            for key, measure in order if turn % 2 == 0 else reversed(order):
                try:
                    figure = measure()
                except FAILURES as error:
                    del rest[key]
                    self.leave_out(" ".join(key), f"it failed: {str(error).splitlines()[-1][:200]}")
                    continue
                found.setdefault(key, []).append(figure)
                self.say(f"round {turn + 1}/{turns}  {key[0]}, {key[1]}: {figure.jobs_per_s:,.0f}/s")
        self.measurements |= {key: Measurement(*key, tuple(found[key])) for key in rest if key in found}
