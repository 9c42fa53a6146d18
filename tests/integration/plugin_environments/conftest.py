"""A customer's machine: a data folder, a wheelhouse with the tiny SDK, and the commands as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aisops_runner.environments import registry
from aisops_runner.environments.layout import Layout
from tests.support.wheels import make_plugin, make_sdk

BESIDE = ("slack", "email", "telegram", "kakao")


@dataclass
class Site:
    """One machine."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def layout(self) -> Layout:
        return Layout(self.data / "plugins")

    @property
    def house(self) -> Path:
        return self.root / "wheelhouse"

    @property
    def config(self) -> Path:
        return self.root / "runner.toml"

    def configure(self, text: str = "") -> None:
        """Write the operator's file. The plugins of the developer's environment are off: they are not this test's."""
        off = "".join(f"[plugins.{name}]\nenabled = false\n" for name in BESIDE)
        self.config.write_text(f"data_dir = {json.dumps(str(self.data))}\ndescribe_timeout_s = 60\n{text}\n{off}")

    def run(
        self, *words: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """`aisops-runner plugin WORDS`, far away from the repository and from this machine's installer settings."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        command = [
            *prefix,
            sys.executable,
            "-P",
            "-m",
            "aisops_runner",
            "plugin",
            words[0],
            "--config",
            str(self.config),
        ]
        return subprocess.run(
            [*command, *words[1:]],
            env=kept | dict(env or {}),
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )

    def ok(self, *words: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The same with --json, which must end well."""
        done = self.run(*words, "--json", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def refused(self, *words: str, code: int = 78) -> dict[str, str]:
        """The same, which must be refused in one JSON line."""
        done = self.run(*words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        found: dict[str, str] = json.loads(done.stderr.splitlines()[-1])
        return found

    def rows(self) -> dict[str, dict[str, Any]]:
        """`plugin list`, by name."""
        return {row["name"]: row for row in self.ok("list")["items"]}

    def version(self, name: str = "acme-chat") -> str:
        """What is in use, from the file alone."""
        held = registry.read(self.layout).holdings.get(name)
        return held.now.version if held else ""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(tmp_path)
    found.configure()
    make_sdk(found.house)
    make_plugin(found.house, "1.0")
    return found
