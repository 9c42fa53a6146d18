"""The plugin guide followed word by word: every command of it, in an empty folder, with the SDK as a wheel.

This is also `aisops-plugin new` in an environment of its own: what it makes is installed, tested and checked there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "plugin-guide.md"

pytestmark = [pytest.mark.packaging, pytest.mark.xdist_group("packaging"), pytest.mark.timeout(600)]


def commands() -> list[str]:
    """What the guide has its reader type."""
    blocks = re.findall(r"```console\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_the_guide_works_word_by_word(tmp_path: Path) -> None:
    """Each command succeeds; what the guide shows of the comparison is what is printed."""
    wheels = tmp_path / "wheels"
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(command, cwd=ROOT / "aisops_plugin_sdk", check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    typed = commands()
    assert any(line.startswith("aisops-plugin new ") for line in typed)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(typed)],
        cwd=empty,
        env={**clean_environment(), "PIP_FIND_LINKS": str(wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout
    assert "Everything is up to date." in done.stdout
    (shown,) = re.findall(r"```text\n(breaking .*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown in done.stdout


def clean_environment() -> dict[str, str]:
    """The environment without what this project's own environment set."""
    mine = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != mine)
    left_out = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
    return {name: value for name, value in os.environ.items() if name not in left_out} | {"PATH": path}
