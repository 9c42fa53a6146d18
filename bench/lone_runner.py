"""The real Runner against `bench.raw_core`: journal and outbox FULL, signed calls, nothing of Core."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from demo.program import Program

TOKEN = "bench-token"


class LoneRunner:
    """Both processes, in a folder whose `data` is the Runner's; the Core end is asked by lines (see there)."""

    def __init__(self, home: Path, python: Path, lines: str = "") -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._core = subprocess.Popen(
            [sys.executable, "-m", "bench.raw_core"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        (home / "token").touch(mode=0o600)
        (home / "token").write_text(TOKEN)
        (home / "runner.toml").write_text(
            f'core_endpoint = "http://127.0.0.1:{int(self._line())}"\nrunner_id = "bench"\ntoken_file = "token"\n'
            f'data_dir = "data"\nlog_level = "warning"\n{lines}'
        )
        command = (python, "-m", "aisops_runner", "run", "--config", home / "runner.toml")
        self._runner = Program("runner", command, home / "runner.log")
        self._runner.start()

    @property
    def pid(self) -> int:
        """Process id of the Runner."""
        return self._runner.pid

    def ask(self, line: str) -> dict[str, Any]:
        """Give the Core end a line and wait for its answer."""
        if self._core.stdin is None:
            raise RuntimeError("the raw Core end has no standard input")
        print(line, file=self._core.stdin, flush=True)
        found: dict[str, Any] = json.loads(self._line())
        return found

    def stop(self) -> None:
        """Stop both programs."""
        self._runner.stop()
        if self._core.stdin is not None:
            self._core.stdin.close()
        self._core.wait(10)

    def _line(self) -> str:
        if self._core.stdout is None:
            raise RuntimeError("the raw Core end has no standard output")
        return self._core.stdout.readline()
