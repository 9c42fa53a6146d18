"""Where everything of the plugins stands under the data folder. Pure: paths only.

plugins/
  installed.json            which environment each plugin uses, which it used before, what is disabled
  commands.lock             held by the one command that changes any of this
  environments/ID/          one built environment; never changed once it is whole
    venv/                   the environment itself
    requirements.txt        exactly what was installed, with hashes
    manifest.json           what the plugin said of itself in it
    environment.json        what it holds; written last, so that an environment without it is half made
  building/                 scratch of the command at work
  cache/                    the installer's; may be deleted at any time
  logs/NAME.log, .log.1     the last lines of each plugin's sidecar
  index.json, run/, home/   the fleet's
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one `plugins` folder."""

    plugins: Path

    @property
    def registry(self) -> Path:
        """Names the environments in use."""
        return self.plugins / "installed.json"

    @property
    def lock(self) -> Path:
        """Held by the command that changes something."""
        return self.plugins / "commands.lock"

    @property
    def environments(self) -> Path:
        """One folder per built environment."""
        return self.plugins / "environments"

    @property
    def building(self) -> Path:
        """Scratch of the command at work."""
        return self.plugins / "building"

    @property
    def cache(self) -> Path:
        """What uv fetched from an index."""
        return self.plugins / "cache"

    @property
    def logs(self) -> Path:
        """What sidecars wrote last."""
        return self.plugins / "logs"

    @property
    def run(self) -> Path:
        """One file per running sidecar, named for its environment where it has one of its own."""
        return self.plugins / "run"

    @property
    def home(self) -> Path:
        """Working folders of the sidecars."""
        return self.plugins / "home"

    def environment(self, identity: str) -> Path:
        """The folder of one environment."""
        return self.environments / identity

    def venv(self, identity: str) -> Path:
        """The environment itself."""
        return self.environment(identity) / "venv"

    def python(self, identity: str) -> str:
        """Its interpreter. A text and not a Path: a thousand of them are made at every start."""
        return f"{self.plugins}/environments/{identity}/venv/bin/python"

    def requirements(self, identity: str) -> Path:
        """What was installed into it."""
        return self.environment(identity) / "requirements.txt"

    def manifest(self, identity: str) -> Path:
        """What the plugin said of itself."""
        return self.environment(identity) / "manifest.json"

    def facts(self, identity: str) -> Path:
        """What it holds."""
        return self.environment(identity) / "environment.json"
