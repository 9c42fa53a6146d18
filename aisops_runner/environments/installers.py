"""The programs that fill an environment: uv where there is one, else Python's own venv and pip.

Both do the same three things. Wheels only: a source package would run its maker's code on the way.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from aisops_runner.environments import programs
from aisops_runner.environments.locked import Pin, parse
from aisops_runner.environments.programs import Surroundings
from aisops_runner.environments.wanted import distribution_name, version_text
from aisops_runner.environments.wheels import sha256_of
from aisops_runner.errors import InstallFailed

Choice = Literal["auto", "uv", "pip"]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where packages may come from.

    Attributes:
        folders: Folders with wheels.
        index: Also the package index that the installer is set up for.
    """

    folders: tuple[Path, ...]
    index: bool

    def options(self) -> list[str]:
        """As uv and pip read it."""
        links = [word for folder in self.folders for word in ("--find-links", str(folder))]
        return [*([] if self.index else ["--no-index"]), *links, "--only-binary", ":all:"]


class Installer(Protocol):
    """What is asked of an installer. Each may raise InstallFailed."""

    @property
    def name(self) -> str:
        """The program's name."""
        ...

    def resolve(self, requirement: str, sources: Sources, around: Surroundings, scratch: Path) -> list[Pin]:
        """Choose versions of a package and of all it needs, with the hashes of their files."""
        ...

    def make(self, venv: Path, around: Surroundings, scratch: Path) -> None:
        """Make an empty environment of the Python that runs this."""
        ...

    def fill(self, venv: Path, lock: Path, sources: Sources, around: Surroundings, scratch: Path) -> None:
        """Install exactly what a lock names, each file checked against its hash, and compile it."""
        ...


@dataclass(frozen=True, slots=True)
class Uv:
    """uv, the quick one."""

    program: str
    name: str = "uv"

    def resolve(self, requirement: str, sources: Sources, around: Surroundings, scratch: Path) -> list[Pin]:
        """Choose versions; raises InstallFailed when there are none that fit."""
        words = [
            self.program, "pip", "compile", "-", "--python", sys.executable, "--no-python-downloads",
            "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links",
            "--quiet", *sources.options(),
        ]  # fmt: skip
        return parse(programs.run(words, around, doing=f"find {requirement}", cwd=scratch, stdin=f"{requirement}\n"))

    def make(self, venv: Path, around: Surroundings, scratch: Path) -> None:
        """Make an empty environment; raises InstallFailed."""
        words = [
            self.program, "venv", "--python", sys.executable, "--no-python-downloads", "--no-project", "--quiet",
            str(venv),
        ]  # fmt: skip
        programs.run(words, around, doing="make the environment", cwd=scratch)

    def fill(self, venv: Path, lock: Path, sources: Sources, around: Surroundings, scratch: Path) -> None:
        """Install what the lock names; raises InstallFailed."""
        words = [
            self.program, "pip", "sync", "--python", str(venv / "bin" / "python"), "--no-python-downloads",
            "--require-hashes", "--compile-bytecode", "--quiet", *sources.options(), str(lock),
        ]  # fmt: skip
        programs.run(words, around, doing="install", cwd=scratch)


@dataclass(frozen=True, slots=True)
class Pip:
    """Python's own venv and the pip beside the Runner."""

    name: str = "pip"

    def resolve(self, requirement: str, sources: Sources, around: Surroundings, scratch: Path) -> list[Pin]:
        """Choose versions; raises InstallFailed when there are none that fit."""
        asked, report = scratch / "requirement.txt", scratch / "report.json"
        asked.write_text(f"{requirement}\n", encoding="utf-8")
        words = [
            *_pip("install"), "--dry-run", "--ignore-installed", "--report", str(report), *sources.options(),
            "-r", str(asked),
        ]  # fmt: skip
        programs.run(words, around, doing=f"find {requirement}", cwd=scratch)
        return pins_of(report.read_bytes())

    def make(self, venv: Path, around: Surroundings, scratch: Path) -> None:
        """Make an empty environment; raises InstallFailed."""
        words = [sys.executable, "-I", "-m", "venv", "--without-pip", str(venv)]
        programs.run(words, around, doing="make the environment", cwd=scratch)

    def fill(self, venv: Path, lock: Path, sources: Sources, around: Surroundings, scratch: Path) -> None:
        """Install what the lock names; raises InstallFailed."""
        words = [
            *_pip("--python", str(venv / "bin" / "python"), "install"), "--no-deps", "--require-hashes", "--compile",
            "--no-warn-script-location", *sources.options(), "-r", str(lock),
        ]  # fmt: skip
        programs.run(words, around, doing="install", cwd=scratch)


def find_installer(choice: Choice, env: Mapping[str, str]) -> Installer:
    """The installer to use.

    Args:
        choice: Which one; `auto`: uv when it is on the PATH or beside the Runner, else pip.
        env: The caller's environment, for its PATH.

    Raises:
        InstallFailed: The one that was asked for, or either, is not there.
    """
    uv = shutil.which("uv", path=env.get("PATH")) or shutil.which("uv", path=sysconfig.get_path("scripts"))
    if uv is not None and choice != "pip":
        return Uv(uv)
    if choice != "uv" and importlib.util.find_spec("pip") is not None:
        return Pip()
    wanted = {"auto": "neither uv nor pip is", "uv": "uv is not", "pip": "pip is not"}[choice]
    raise InstallFailed(f"{wanted} installed here; get uv with: pip install 'aisops-runner[uv]'", code="no_installer")


def pins_of(report: bytes) -> list[Pin]:
    """What pip would install, from its report (https://pip.pypa.io/en/stable/reference/installation-report/).

    Raises:
        InstallFailed: It names something that is no file with a SHA-256.
    """
    try:
        return [_pin(item) for item in json.loads(report)["install"]]
    except (ValueError, KeyError, TypeError, OSError):
        raise InstallFailed("pip's report makes no sense; a newer pip, or uv, may help") from None


def _pin(item: Mapping[str, object]) -> Pin:
    found, facts = item["download_info"], item["metadata"]
    if not isinstance(found, dict) or not isinstance(facts, dict):
        raise TypeError("not objects")
    archive = found["archive_info"]
    digest = (archive.get("hashes") or {}).get("sha256") or str(archive.get("hash", "")).removeprefix("sha256=")
    if not digest and str(found["url"]).startswith("file://"):
        digest = sha256_of(Path(url2pathname(urlsplit(str(found["url"])).path)))
    return Pin(distribution_name(str(facts["name"])), version_text(str(facts["version"])), (str(digest),))


def _pip(*words: str) -> Sequence[str]:
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check")
    return [sys.executable, "-I", "-m", "pip", *words, *quiet]
