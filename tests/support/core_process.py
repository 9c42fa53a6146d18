"""A real `aisops-core serve` in its own process, on free loopback ports and a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from sys import executable
from typing import Any, TypeVar

BIN = Path(executable).parent
START_S = 30.0
T = TypeVar("T")


def until(probe: Callable[[], T | None], what: str, patience_s: float = 20.0) -> T:
    """Return the first value of `probe` that is true; fail after `patience_s` seconds."""
    deadline = time.monotonic() + patience_s
    while not (found := probe()):
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s in vain for {what}"
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Response:
    """An HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code, having checked that it is a problem document and fits its status."""
        assert self.headers["Content-Type"].startswith("application/problem+json")
        assert self.json["status"] == self.status
        return str(self.json["code"])


@dataclass
class CoreProcess:
    """One Core. `options` are further words of its command line."""

    home: Path
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    http_url: str = ""
    grpc_port: int = 0
    admin_token: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.home / "core"

    @property
    def log(self) -> str:
        return (self.home / "core.log").read_text(errors="replace")

    @property
    def command(self) -> list[str]:
        doors = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        token = ("--admin-token-file", str(self.home / "admin-token"))
        return [str(BIN / "aisops-core"), "serve", "--data", str(self.data), *doors, *token, *self.options]

    def start(self) -> CoreProcess:
        """Start it and wait until it is ready."""
        endpoints = self.data / "endpoints.json"
        endpoints.unlink(missing_ok=True)
        with (self.home / "core.log").open("ab") as log:
            environment = {**os.environ, "AISOPSFLOW_LOG_FORMAT": "json", **self.environment}
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)
        until(lambda: self._alive() and endpoints.exists(), "endpoints.json", START_S)
        found = json.loads(endpoints.read_text())
        self.http_url, self.grpc_port = found["http"], found["grpc_port"]
        until(lambda: self._alive() and self.request("GET", "/readyz").status == 200, "Core being ready", START_S)
        self.admin_token = (self.home / "admin-token").read_text().strip()
        return self

    def _alive(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"Core ended with {self.process.returncode}:\n{self.log}"
        return True

    def stop(self, number: signal.Signals = signal.SIGTERM, patience_s: float = 15.0) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Response:
        """Send one HTTP request; an error status is an answer like any other."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(
            self.http_url + path, data=data, method=method, headers={**sent, **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=70) as answer:
                return Response(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, error.headers, error.read())

    def api(self, method: str, path: str, body: Any = None, **more: Any) -> Response:
        """As `request`, under /api/v1 and with the admin token."""
        return self.request(method, f"/api/v1{path}", body, self.admin_token, **more)

    def create_runner(self, runner_id: str) -> str:
        """Admit a Runner and return its token."""
        created = self.api("POST", "/runners", {"runner_id": runner_id})
        assert created.status == 201, created.body
        return str(created.json["token"])

    def administer(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another `aisops-core` command on the same data."""
        command = [str(BIN / "aisops-core"), *words, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def create_token(self, name: str, role: str, tenant: str = "t_default") -> str:
        """Make an API token on Core's own machine."""
        done = self.administer("token", "create", "--name", name, "--role", role, "--tenant", tenant, "--new-tenant")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def running_core(home: Path, *options: str, **environment: str) -> Iterator[CoreProcess]:
    """A started Core that is stopped at the end."""
    core = CoreProcess(home, options, environment)
    try:
        yield core.start()
    finally:
        if core.process is not None:
            core.stop()
