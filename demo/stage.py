"""The whole product on one machine: provider stand-ins, Core, Runner, each the real program in its own process.

The demo, the end-to-end tests, the fault tests and the benchmark all stand on this stage, so that what they show is
what ships: the installed executables, their own data folders, loopback ports. Nothing here knows a rule of the product.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from demo.program import Program, StageError, free_port, get_json, post_json

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent
PROVIDERS_ANSWER_S = 60.0  # they may have tens of thousands of messages to list


def toml_string(text: str) -> str:
    """Quote a string for TOML (basic strings take JSON's escapes)."""
    return json.dumps(text)


@dataclass
class Stage:
    """Folders, ports and programs of one set-up under `home`.

    `plugin_env` maps a plugin's name to the environment its sidecar is given; `runner_lines` are further lines for the
    top of the Runner's TOML file. `grpc_scheme` is `https` when the options make Core speak TLS to Runners.
    """

    home: Path
    runner_id: str = "demo-site"
    tenant_id: str = "t_default"
    plugin_env: dict[str, dict[str, str]] = field(default_factory=dict)
    runner_lines: tuple[str, ...] = ()
    runner_environment: Mapping[str, str] = field(default_factory=dict)
    core_options: tuple[str, ...] = ()
    grpc_scheme: str = "http"
    token: str = ""
    _programs: list[Program] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.http_port, self.grpc_port = free_port(), free_port()
        self.providers_state = self.home / "providers.json"
        self.providers = self._program(
            "providers", sys.executable, "-m", "demo.providers", "--state", self.providers_state
        )
        self.core = self._program(
            "core", BIN / "aisops-core", "serve", "--data", self.home / "core",
            "--http", f"127.0.0.1:{self.http_port}", "--grpc", f"127.0.0.1:{self.grpc_port}",
            "--admin-token-file", self.home / "admin-token", *self.core_options,
        )  # fmt: skip
        self.runner_config = self.home / "runner.toml"
        self.runner = self._program("runner", BIN / "aisops-runner", "run", "--config", self.runner_config)
        self.runner.env = self.runner_environment

    def _program(self, name: str, *command: str | Path) -> Program:
        program = Program(name, command, self.home / f"{name}.log", {"PYTHONPATH": str(ROOT)})
        self._programs.append(program)
        return program

    def __enter__(self) -> Self:
        """Nothing is started yet: the caller starts what it wants to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, last started first."""
        self.stop()

    @property
    def url(self) -> str:
        """Base address of Core's HTTP API."""
        return f"http://127.0.0.1:{self.http_port}"

    # --- the three parts --------------------------------------------------------------------------------------------

    def start_providers(self) -> dict[str, Any]:
        """Start the four stand-ins; return their addresses and dummy credentials."""
        self.providers.start()
        return self.providers.wait_for(self._read_providers, "the provider stand-ins' addresses")

    @property
    def targets(self) -> dict[str, str]:
        """An address that exists at each provider stand-in, by capability."""
        return dict((self._read_providers() or {})["targets"])

    def _read_providers(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads(self.providers_state.read_text())
        except (OSError, ValueError):
            return None
        return state

    def start_core(self) -> None:
        """Start Core and wait until it is ready; keep the admin token it made on its first start."""
        self.core.start()
        self.core.wait_for(lambda: get_json(f"{self.url}/readyz"), "Core being ready")
        self.token = (self.home / "admin-token").read_text().strip()

    def create_runner(self) -> None:
        """Create the Runner at Core; write its token (0600) and its configuration."""
        created = post_json(f"{self.url}/api/v1/runners", {"runner_id": self.runner_id}, self.token)
        token_file = self.home / "runner-token"
        token_file.touch(mode=0o600)
        token_file.write_text(created["token"])
        lines = [
            f'core_endpoint = "{self.grpc_scheme}://127.0.0.1:{self.grpc_port}"',
            f"tenant_id = {toml_string(self.tenant_id)}",
            f"runner_id = {toml_string(self.runner_id)}",
            f"token_file = {toml_string(str(token_file))}",
            f"data_dir = {toml_string(str(self.home / 'runner'))}",
            *self.runner_lines,
        ]
        for plugin, env in self.plugin_env.items():
            lines += [f"[plugins.{plugin}.env]", *(f"{name} = {self._reference(plugin, name, env)}" for name in env)]
        self.runner_config.touch(mode=0o600)
        self.runner_config.write_text("\n".join(lines) + "\n")

    def _reference(self, plugin: str, name: str, env: Mapping[str, str]) -> str:
        """Keep every value in its own 0600 file, as an operator keeps secrets, and refer to it."""
        secret = self.home / "secrets" / f"{plugin}.{name}"
        secret.parent.mkdir(mode=0o700, exist_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(env[name])
        return toml_string(f"file:{secret}")

    def start_runner(self) -> dict[str, Any]:
        """Start the Runner and wait until Core shows it connected; return Core's record of it."""
        self.runner.start()
        return self.runner.wait_for(self.connected_runner, "the Runner's connection")

    def connected_runner(self) -> dict[str, Any] | None:
        """Core's record of the Runner while it is connected, else None."""
        record = get_json(f"{self.url}/api/v1/runners/{self.runner_id}", self.token)
        return record if record and record.get("connected") else None

    # --- asking -----------------------------------------------------------------------------------------------------

    def received(self, text: str = "") -> dict[str, list[dict[str, Any]]]:
        """What each provider stand-in has accepted so far, by provider; only messages that contain a text, if given."""
        return dict(self._providers_say(f"/received?{urlencode({'text': text})}"))

    def counts(self) -> dict[str, dict[str, int]]:
        """Calls, accepted messages and recognised second sendings, by provider stand-in."""
        return dict(self._providers_say("/counts"))

    def duplicates(self) -> list[str]:
        """Texts of the messages that the Kakao stand-in recognised as sent before, once for each time."""
        return list(self._providers_say("/duplicates"))

    def _providers_say(self, path: str) -> Any:
        """Ask the stand-ins. No answer is not taken for nothing received."""
        state = self._read_providers() or {}
        answer = get_json(f"{state.get('control_url', '')}{path}", timeout_s=PROVIDERS_ANSWER_S)
        if answer is None:
            raise StageError(f"the provider stand-ins did not answer {path} within {PROVIDERS_ANSWER_S:.0f} s")
        return answer

    def pace_providers(self, seconds: float) -> None:
        """Let the sending calls of the HTTP stand-ins take so long before and after accepting a message."""
        state = self._read_providers() or {}
        post_json(f"{state.get('control_url', '')}/pace", seconds, "")

    def runner_status(self) -> dict[str, Any]:
        """The Runner's own account of itself, through `aisops-runner status --json`."""
        status = Program(
            "status",
            [BIN / "aisops-runner", "status", "--config", self.runner_config, "--json"],
            self.home / "status.log",
        )
        status.log.unlink(missing_ok=True)
        status.start()
        if status.process is not None:
            status.process.wait(20)
        try:
            document: dict[str, Any] = json.loads(status.log.read_text())
        except ValueError:
            return {}
        return document

    def stop(self) -> None:
        """Stop every program, last started first; an interrupt meanwhile kills what is left instead of leaving it."""
        programs = (self.runner, self.core, self.providers)
        try:
            for program in programs:
                program.stop()
        finally:
            for program in programs:
                program.kill()
