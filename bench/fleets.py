"""Drives fleets of Runners in other processes, against one Core with mTLS, and watches what they cost Core."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.authority import Authority

CAPABILITIES = 5


class FleetProcess:
    """One `bench.fleet` process."""

    def __init__(self, target: str, authority: Authority, tokens: Mapping[str, str], log: Path) -> None:
        files = (authority.ca, authority.runner_cert, authority.runner_key)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.fleet", target, *(str(file) for file in files)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
            )
        self._say({"tokens": dict(tokens), "tenant_id": "t_default", "capabilities": CAPABILITIES})

    def _say(self, document: Mapping[str, Any]) -> None:
        self.tell(json.dumps(document))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def tell(self, command: str) -> None:
        """Give a command."""
        if self._process.stdin is None:
            raise RuntimeError("the fleet has no standard input")
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Wait for the answer to a command.

        Raises:
            RuntimeError: the fleet has ended.
        """
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise RuntimeError(f"the fleet ended with {self._process.wait(10)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Fleets:
    """Several fleets that do the same at the same time."""

    def __init__(
        self, target: str, authority: Authority, tokens: Mapping[str, str], home: Path, processes: int = 2
    ) -> None:
        names = list(tokens)
        shares = [names[start::processes] for start in range(processes)]
        self.processes = [
            FleetProcess(target, authority, {name: tokens[name] for name in share}, home / f"fleet-{number}.log")
            for number, share in enumerate(shares)
        ]

    def all(self, command: str) -> list[dict[str, Any]]:
        """Give everybody a command and wait for every answer."""
        for process in self.processes:
            process.tell(command)
        return [process.hear() for process in self.processes]

    def kill(self) -> None:
        """End every process."""
        for process in self.processes:
            process.kill()
