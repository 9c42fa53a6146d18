"""Every distribution, built as a wheel and installed into an empty environment, imports and runs.

An editable install puts the whole repository on `sys.path`, so only this shows that a wheel holds all it needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")
DISTRIBUTIONS = {
    "proto": ("aisops_protocol", "aisopsflow.core.runner.v1"),
    "aisops_plugin_sdk": ("aisops_plugin_sdk",),
    "aisops_runner": ("aisops_runner",),
    "aisops_core": ("aisops_core",),
    "plugins/slack": ("aisops_plugin_slack",),
    "plugins/email": ("aisops_plugin_email",),
    "plugins/telegram": ("aisops_plugin_telegram",),
    "plugins/kakao": ("aisops_plugin_kakao",),
    "plugins/conformance": ("aisops_plugin_conformance",),
}

pytestmark = [pytest.mark.packaging, pytest.mark.xdist_group("packaging"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All wheels, built from the source tree as it stands."""
    target = tmp_path_factory.mktemp("wheels")
    for folder in DISTRIBUTIONS:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
            cwd=ROOT / folder,
            check=True,
            capture_output=True,
        )
    return sorted(target.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheels; other packages come from uv's cache, or the network when it is cold."""
    folder = tmp_path_factory.mktemp("installed") / "env"
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, folder], check=True)
    command = [UV, "pip", "install", "-q", "--python", folder / "bin" / "python", "-c", ROOT / "requirements/dev.txt"]
    if subprocess.run([*command, "--offline", *wheels], check=False, capture_output=True).returncode:
        subprocess.run([*command, *wheels], check=True)
    return folder


def run(environment: Path, *command: str, cwd: Path) -> str:
    """Run one of the environment's programs far away from the repository; return its output."""
    program, *rest = command
    done = subprocess.run(
        [environment / "bin" / program, *rest], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_distribution_has_a_wheel_that_is_typed(wheels: list[Path]) -> None:
    """One wheel each, with the `py.typed` marker, and nothing of the tests or the build files inside."""
    assert len(wheels) == len(DISTRIBUTIONS)
    for wheel in wheels:
        names = zipfile.ZipFile(wheel).namelist()
        assert any(name.endswith("py.typed") for name in names), wheel.name
        assert not [n for n in names if "/tests/" in n or n.endswith("pyproject.toml")], wheel.name


def test_wheels_import_without_the_repository(environment: Path, tmp_path: Path) -> None:
    """Each top-level package imports from site-packages alone."""
    modules = [module for names in DISTRIBUTIONS.values() for module in names]
    code = f"import importlib, json; print(json.dumps([importlib.import_module(m).__name__ for m in {modules!r}]))"
    assert json.loads(run(environment, "python", "-c", code, cwd=tmp_path)) == modules


def test_entry_points_are_installed(environment: Path, tmp_path: Path) -> None:
    """The plugins are found by entry point, and every program starts."""
    code = (
        "import json; from importlib.metadata import entry_points; "
        "print(json.dumps(sorted(e.name for e in entry_points(group='aisops.plugins'))))"
    )
    found = json.loads(run(environment, "python", "-c", code, cwd=tmp_path))
    assert found == ["conformance", "email", "kakao", "slack", "telegram"]
    for program in ("aisops-core", "aisops-runner", "aisops", "aisops-plugin", "aisops-delivery-conformance"):
        assert "Usage" in run(environment, program, "--help", cwd=tmp_path)


def test_installed_plugins_describe_themselves(environment: Path, tmp_path: Path) -> None:
    """`aisops-runner plugin list` in the empty environment shows working plugins with their capabilities."""
    (tmp_path / "runner.toml").write_text(f"data_dir = {json.dumps(str(tmp_path / 'data'))}\n")
    listing = json.loads(
        run(environment, "aisops-runner", "plugin", "list", "--config", "runner.toml", "--json", cwd=tmp_path)
    )
    offered = {capability for plugin in listing["items"] for capability in plugin["capabilities"]}
    channels = {"slack.send", "email.send", "telegram.send", "kakao.alimtalk.send"}
    assert offered == channels | {"conformance.idempotent", "conformance.at_most_once"}


def test_the_database_can_be_made_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    """Migrations are package data of the Core's wheel."""
    run(environment, "aisops-core", "migrate", "--data", str(tmp_path / "core"), cwd=tmp_path)
    assert list((tmp_path / "core").glob("*.sqlite*"))
