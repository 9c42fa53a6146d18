"""`aisops-plugin new`: what it makes is green by every tool at once, and it never writes over anything.

The plugin is found through PYTHONPATH here; tests/packaging installs it into an environment of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisops_plugin_sdk.sources.project import read_project
from tests.support.author import BIN, aisops_plugin, run

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("acme-chat", "a", "a23456789012345678901234567890bc")


def made(folder: Path, name: str = "acme-chat") -> Path:
    done = aisops_plugin("new", name, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / name


@pytest.fixture(scope="module", params=NAMES)
def plugin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated plugin, one for each of several names."""
    return made(tmp_path_factory.mktemp("new"), request.param)


@pytest.fixture
def installed(plugin: Path) -> Iterator[dict[str, str]]:
    """The environment in which the generated plugin is found as if it were installed."""
    with read_project(plugin).importable() as paths:
        yield {"PYTHONPATH": os.pathsep.join(map(str, paths))}


def test_every_generated_file_is_formatted_and_clean(plugin: Path) -> None:
    """By its own settings and by this project's, to which a vendor's plugin is a stranger."""
    module = read_project(plugin).target.partition(":")[0]
    ours = ["--config", ROOT / "pyproject.toml", "--config", 'lint.isort.known-third-party=["aisops_plugin_sdk"]']
    ours += ["--config", f"lint.isort.known-first-party=['{module}']"]
    for settings in ([], ours):
        for command in (["check"], ["format", "--check"]):
            done = run([BIN / "ruff", *command, "--no-cache", *settings, "."], cwd=plugin)
            assert done.returncode == 0, done.stdout + done.stderr


def test_every_generated_file_is_typed(plugin: Path, tmp_path: Path) -> None:
    done = run([BIN / "mypy", "--strict", "--cache-dir", tmp_path], cwd=plugin)
    assert done.returncode == 0, done.stdout


def test_its_own_tests_are_green(plugin: Path) -> None:
    started = time.monotonic()
    done = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=plugin)
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
    assert time.monotonic() - started < 60  # under 10 s on a machine that does nothing else


def test_it_passes_the_check(plugin: Path, installed: dict[str, str]) -> None:
    name = read_project(plugin).plugin
    token = f"{name.replace('-', '_').upper()}_TOKEN"
    done = aisops_plugin("check", name, "--json", cwd=plugin, env={**installed, token: "anything"})
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["ok"] is True


def test_its_documentation_is_up_to_date(plugin: Path) -> None:
    done = aisops_plugin("docs", "--check", cwd=plugin)
    assert (done.returncode, done.stdout) == (0, "Everything is up to date.\n")


def test_the_capability_takes_thirty_lines_at_most(plugin: Path) -> None:
    source = (plugin / read_project(plugin).target.partition(":")[0] / "adapter.py").read_text()
    lines = [line for line in source.partition("class Message")[2].splitlines() if line.strip()]
    assert len(lines) <= 30


def test_it_says_what_to_do_next_and_makes_no_other_file(tmp_path: Path) -> None:
    done = aisops_plugin("new", "acme-chat", "--dir", "deep/inside", cwd=tmp_path)
    assert done.returncode == 0
    assert "pip install -e '.[dev]'" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["inside"]
    assert {path.name for path in (tmp_path / "deep" / "inside").iterdir()} >= {".gitignore", ".github", "LICENSE"}


@pytest.mark.parametrize("what", ["a file", "a folder with something in it", "a link"])
def test_nothing_is_written_over(tmp_path: Path, what: str) -> None:
    target = tmp_path / "acme-chat"
    if what == "a file":
        target.write_text("mine")
    elif what == "a link":
        (tmp_path / "elsewhere").mkdir()
        target.symlink_to(tmp_path / "elsewhere")
    else:
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    done = aisops_plugin("new", "acme-chat", cwd=tmp_path)
    assert done.returncode == 1
    assert "exists and is not an empty folder" in done.stderr
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "acme-chat").mkdir()
    assert (made(tmp_path) / "pyproject.toml").exists()


@pytest.mark.parametrize("name", ["Acme", "../acme", "aisops-plugin-acme", "acme_chat"])
def test_a_wrong_name_is_a_sentence(tmp_path: Path, name: str) -> None:
    done = aisops_plugin("new", name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert not list(tmp_path.iterdir())
