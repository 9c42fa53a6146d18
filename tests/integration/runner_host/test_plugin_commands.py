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


PROGRAM = """
api_version: runner-plugin/v1
kind: RunnerPlugin
metadata: {name: tool, plugin_version: "1.2", colour: red}
runtime: {type: binary, entrypoint: run.sh, protocol: stdio-json}
capabilities: {provides: [tool.use, send.slack]}
"""


def program(folder: Path, text: str = PROGRAM) -> Path:
    folder.mkdir(parents=True)
    (folder / "runner-plugin.yaml").write_text(text)
    (folder / "run.sh").write_text(f"#!/bin/sh\ntouch {folder}/was-run\n")
    (folder / "run.sh").chmod(0o755)
    return folder


def test_programs_and_addresses_of_the_original_are_listed_and_none_is_run(tmp_path: Path) -> None:
    good = program(tmp_path / "programs" / "good")
    program(tmp_path / "programs" / "bad", PROGRAM.replace("binary", "wasm"))
    config = tmp_path / "runner.toml"
    config.write_text(
        'plugin_folders = ["programs"]\n'
        '[plugins.mail]\nurl = "http://127.0.0.1:9"\ncapabilities = ["email.send"]\n'
        '[plugins.off]\nurl = "http://127.0.0.1:9"\nenabled = false\n'
    )
    done = _run(tmp_path, "plugin", "list", "--json", "--config", str(config))
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["items"]}
    tool = rows["tool"]
    assert (tool["kind"], tool["state"], tool["version"]) == ("stdio-json", "installed", "1.2")
    assert tool["capabilities"] == ["tool.use", "slack.send", "send.slack"]
    assert "slack.send is claimed by slack and tool" in tool["reason"]
    assert (rows["bad"]["kind"], rows["bad"]["state"]) == ("program", "broken")
    assert (rows["mail"]["kind"], rows["mail"]["capabilities"]) == ("url", ["email.send", "send.email"])
    assert rows["off"]["state"] == "disabled"
    assert rows["slack"]["kind"] == "package"
    assert not (good / "was-run").exists()
    table = _run(tmp_path, "plugin", "list", "--config", str(config)).stdout
    assert "KIND" in table.splitlines()[0]
    assert "must be 'node', 'python' or 'binary', not 'wasm'" in table


def test_describe_shows_where_it_is_and_what_is_passed_over(tmp_path: Path) -> None:
    folder = program(tmp_path / "tool")
    config = tmp_path / "runner.toml"
    config.write_text('[plugins.mine]\npath = "tool"\n')
    done = _run(tmp_path, "plugin", "describe", "mine", "--config", str(config))
    document = json.loads(done.stdout)
    assert (document["name"], document["kind"], document["place"]) == ("mine", "stdio-json", str(folder))
    assert document["notes"] == ["field metadata.colour means nothing here"]
    (folder / "runner-plugin.yaml").write_text("a: &x 1\n")
    broken = _run(tmp_path, "plugin", "describe", "mine", "--config", str(config))
    assert broken.returncode == 1
    assert "tool/runner-plugin.yaml: line 1: an anchor (&) stands here" in broken.stderr
    assert "Traceback" not in broken.stderr
