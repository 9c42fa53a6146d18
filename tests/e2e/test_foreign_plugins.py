"""Plugins written for the original product, through the front doors: jobs at Core, a real Runner, their processes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from demo.program import Program, free_port
from demo.stage import BIN, ROOT, Stage

EXAMPLES = ROOT / "tests" / "support" / "foreign_plugins"
NODE = shutil.which("node")
STUCK = """
api_version: runner-plugin/v1
kind: RunnerPlugin
metadata: {name: stuck, plugin_version: "1"}
runtime: {type: binary, entrypoint: run.sh, protocol: stdio-json}
capabilities: {provides: [stuck.do]}
execution: {startup_timeout_seconds: 1, restart_policy: never}
"""
TOKEN = "shared-with-the-plugin-elsewhere"
needs_node = pytest.mark.skipif(NODE is None, reason="Node is not on this machine")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Core and a Runner with a Node program, a Python and a shell program, a broken one, and a plugin at an address."""
    home = tmp_path_factory.mktemp("foreign")
    shutil.copytree(EXAMPLES, home / "programs")
    broken = home / "programs" / "broken"
    broken.mkdir()
    (broken / "runner-plugin.yaml").write_text("api_version: runner-plugin/v1\nkind: RunnerPlugin\nmetadata: {}\n")
    stuck = home / "programs" / "stuck"
    stuck.mkdir()
    (stuck / "runner-plugin.yaml").write_text(STUCK)
    (stuck / "run.sh").write_text("#!/bin/sh\necho waiting for the database\nexec sleep 600\n")
    (stuck / "run.sh").chmod(0o755)
    port = free_port()
    elsewhere = Program(
        "elsewhere", [str(NODE), EXAMPLES / "hallway" / "src" / "index.js"], home / "elsewhere.log",
        {"PORT": str(port), "INTERNAL_AUTH_TOKEN": TOKEN, "HALLWAY_EFFECTS": str(home / "afar.txt")},
    )  # fmt: skip
    environment = {
        "PLUGIN_AFAR_URL": f"http://127.0.0.1:{port}",
        "AISOPSFLOW_INTERNAL_AUTH_TOKEN": TOKEN,
        "HALLWAY_EFFECTS": str(home / "shown.txt"),
        "NOTES_FILE": str(home / "notes.txt"),
        "NOTES_SECRET": "the-secret-of-the-notes",
    }
    with Stage(home, runner_environment=environment) as stage:
        stage.runner_lines = (
            f"plugin_folders = [{json.dumps(str(home / 'programs'))}]",
            "[bindings]",
            '"hallway.send" = "hallway"',
            *(f"[plugins.{name}]\nenabled = false" for name in ("slack", "email", "telegram", "kakao")),
        )
        stage.start_core()
        stage.create_runner()
        if NODE is not None:
            elsewhere.start()
            elsewhere.wait_for(lambda: "listens" in elsewhere.tail(), "the plugin elsewhere")
        stage.start_runner()
        try:
            yield stage
        finally:
            elsewhere.kill()


def submit(stage: Stage, capability: str, document: object, *options: str, expect: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [BIN / "aisops", "job", "submit", capability, "--input", json.dumps(document), "--wait", "--json", *options],
        env={"PATH": "/usr/bin:/bin", "HOME": str(stage.home), "AISOPS_URL": stage.url, "AISOPS_TOKEN": stage.token},
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    job: dict[str, Any] = json.loads(done.stdout)
    return job


def plugins(stage: Stage) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [BIN / "aisops-runner", "plugin", "list", "--config", stage.runner_config, "--json"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return {row["name"]: row for row in json.loads(done.stdout)["items"]}


def written(stage: Stage, name: str) -> list[str]:
    file = stage.home / name
    return file.read_text().splitlines() if file.exists() else []


@needs_node
def test_a_job_reaches_a_node_program(stage: Stage) -> None:
    job = submit(stage, "hallway.send", {"target": "#door", "text": "디스크 부족 🚨"})
    assert job["state"] == "succeeded"
    assert job["output"]["hallway"]["greeting"] == "hello"
    assert job["execution"]["sidecar_pid"] in {p.pid for p in psutil.Process(stage.runner.pid).children(recursive=True)}
    assert written(stage, "shown.txt") == ["디스크 부족 🚨"]


def test_a_job_reaches_a_python_program_over_stdio(stage: Stage) -> None:
    job = submit(stage, "notes.add", {"text": "from Core"})
    assert (job["state"], job["output"]["noted"]) == ("succeeded", "from Core")
    assert "CORE_RUNNER_AUTH_TOKEN" not in job["output"]["environment"]
    assert written(stage, "notes.txt") == ["from Core"]


def test_a_job_reaches_a_shell_script_over_stdio(stage: Stage) -> None:
    assert submit(stage, "host.uptime", {})["output"]["seconds"] > 0


@needs_node
def test_they_are_listed_like_any_other_with_their_kind(stage: Stage) -> None:
    rows = plugins(stage)
    assert {name: row["kind"] for name, row in rows.items()} == {
        "hallway": "local-http", "notes": "stdio-json", "uptime": "stdio-json", "broken": "program",
        "stuck": "stdio-json",
        "slack": "package", "email": "package", "telegram": "package", "kakao": "package", "afar": "url",
    }  # fmt: skip
    assert rows["broken"]["state"] == "broken"
    assert "broken/runner-plugin.yaml: line 3: metadata.name: is missing" in rows["broken"]["reason"]
    assert rows["afar"]["state"] == "ready"
    assert "claimed by afar and hallway" not in rows["hallway"]["reason"], "it was bound"


@needs_node
def test_a_refusal_fails_the_job_and_doubt_makes_it_uncertain(stage: Stage) -> None:
    refused = submit(stage, "hallway.send", {"target": "#door", "text": "refuse"}, expect=1)
    assert (refused["state"], refused["error"]["code"]) == ("failed", "provider_error")
    for text in ("break", "garbage", "page"):
        doubtful = submit(stage, "hallway.send", {"target": "#door", "text": text}, expect=1)
        assert (doubtful["state"], doubtful["execution"]["calls"]) == ("uncertain", 1)


def test_one_that_never_gets_ready_fails_its_job_and_says_why(stage: Stage) -> None:
    job = submit(stage, "stuck.do", {}, "--timeout", "5", expect=1)
    assert job["state"] in ("failed", "timed_out")
    row = plugins(stage)["stuck"]
    assert row["state"] == "quarantined"
    assert "did not get ready within 1 s (last words: waiting for the database)" in row["reason"]
    assert submit(stage, "host.uptime", {})["state"] == "succeeded", "the others are not disturbed"


def test_kill_9_in_a_call_is_one_effect_and_an_uncertain_job(stage: Stage) -> None:
    before = len(written(stage, "notes.txt"))
    job = submit(stage, "notes.add", {"text": "killed", "then": "die"}, expect=1)
    assert job["state"] == "uncertain"
    assert written(stage, "notes.txt")[before:] == ["killed"]
    assert submit(stage, "notes.add", {"text": "and back"})["state"] == "succeeded"


@needs_node
def test_killing_the_runner_leaves_none_of_their_processes(stage: Stage) -> None:
    submit(stage, "hallway.send", {"target": "#door", "text": "wakes it"})
    submit(stage, "notes.add", {"text": "wakes it"})
    family = psutil.Process(stage.runner.pid).children(recursive=True)
    assert len(family) >= 2

    stage.runner.kill()
    _, alive = psutil.wait_procs(family, timeout=2)

    assert not alive
    stage.start_runner()


@needs_node
def test_the_plugin_elsewhere_serves_once_it_is_bound(stage: Stage) -> None:
    stage.runner.stop()
    text = stage.runner_config.read_text()
    stage.runner_config.write_text(text.replace('"hallway.send" = "hallway"', '"hallway.send" = "afar"'))
    stage.start_runner()
    job = submit(stage, "hallway.send", {"target": "#door", "text": "from afar"})
    assert job["state"] == "succeeded"
    assert job["execution"]["sidecar_pid"] in (0, None)
    assert written(stage, "afar.txt") == ["from afar"]


def test_no_secret_is_in_any_log(stage: Stage) -> None:
    runner_token = (stage.home / "runner-token").read_text()
    for path in [*stage.home.glob("*.log"), *(stage.home / "core").rglob("*"), *(stage.home / "runner").rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert not [s for s in (TOKEN, runner_token, "the-secret-of-the-notes") if s.encode() in content], path.name
