"""Run one real program as a child process: start, watch its log, stop or kill it, start it again.

Also the two things everybody who runs programs needs: a free port, and waiting for a condition instead of for time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class StageError(Exception):
    """A program did not come up or went away; the message holds the end of its log."""


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], T | None], what: str, timeout_s: float = 30.0) -> T:
    """Return the first truthy value of `condition`, asked every 20 ms.

    Raises:
        StageError: the condition did not hold within `timeout_s` seconds.
    """
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.02)
    raise StageError(f"{what} did not happen within {timeout_s:.0f} s")


@dataclass
class Program:
    """One process with its log file; it can be killed and started again."""

    name: str
    command: Sequence[str | Path]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process in its own session, with output appended to the log."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AISOPS", "CORE_", "PLUGIN_"))}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, **self.env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id.

        Raises:
            StageError: the program was not started.
        """
        if self.process is None:
            raise StageError(f"{self.name} was not started")
        return self.process.pid

    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it as a crash would (SIGKILL), and reap it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout_s: float = 45.0) -> int:
        """Ask it to stop (SIGTERM), wait, kill it when it does not; return its exit code (negative: a signal)."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of the log."""
        if not self.log.exists():
            return "(no output)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_for(self, condition: Callable[[], T | None], what: str, timeout_s: float = 30.0) -> T:
        """Like `wait_until`, but fails at once, with the log's end, when the process has gone."""

        def ask() -> T | None:
            if not self.running():
                raise StageError(f"{self.name} ended while waiting for {what}:\n{self.tail()}")
            return condition()

        try:
            return wait_until(ask, what, timeout_s)
        except StageError as error:
            raise StageError(f"{error}\n{self.tail()}") from None


def get_text(url: str, timeout_s: float = 5.0) -> str:
    """GET a text; empty while nothing answers there."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def get_json(url: str, token: str = "", timeout_s: float = 5.0) -> Any:
    """GET a JSON document; return None while nothing answers there."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def post_json(url: str, document: object, token: str, timeout_s: float = 10.0) -> Any:
    """POST a JSON document and return the answer.

    Raises:
        OSError: nothing answers, or the answer is an HTTP error.
    """
    request = urllib.request.Request(
        url,
        data=json.dumps(document).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return json.load(answer)
