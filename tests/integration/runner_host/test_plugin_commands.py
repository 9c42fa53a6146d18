"""`aisops-runner plugin …` as a user runs it: a process, real packages, no Runner needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.runner_host.conftest import CLEAN_ENV
from tests.support.vendor_plugins import install_vendor

pytestmark = pytest.mark.integration


def _run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = CLEAN_ENV | {
        "PYTHONPATH": str(site),
        "AISOPS_RUNNER_DATA_DIR": str(site / "data"),
        "AISOPS_RUNNER_DESCRIBE_TIMEOUT_S": "20",
    }
    command = [sys.executable, "-P", "-m", "aisops_runner", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=site)


def test_list_shows_sound_and_broken_plugins_without_a_runner(tmp_path: Path) -> None:
    install_vendor(tmp_path, "good", "raises")
    done = _run(tmp_path, "plugin", "list", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["items"]}
    assert (rows["good"]["state"], rows["good"]["capabilities"]) == (
        "installed",
        ["good.echo", "good.crash", "good.flood"],
    )
    assert rows["raises"]["state"] == "broken"
    assert "no licence found" in rows["raises"]["reason"]
    assert {"slack", "email", "telegram", "kakao"} <= set(rows)
    assert not (tmp_path / "data").exists(), "listing makes no data folder"


def test_describe_prints_the_manifest_or_says_why_not(tmp_path: Path) -> None:
    install_vendor(tmp_path, "good", "raises")
    manifest = json.loads(_run(tmp_path, "plugin", "describe", "good").stdout)
    assert (manifest["name"], manifest["capabilities"][0]["name"]) == ("good", "good.echo")
    broken = _run(tmp_path, "plugin", "describe", "raises")
    assert broken.returncode == 1
    assert "no licence found" in broken.stderr
    assert "Traceback" not in broken.stderr
    missing = _run(tmp_path, "plugin", "describe", "ghost", "--json")
    assert missing.returncode == 1
    assert json.loads(missing.stderr)["code"] == "not_installed"
