"""The main job through the front doors: the operator's command line, Core, a Runner, sidecars, four providers."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import psutil
import pytest

from demo.alert import read_alert
from demo.messages import submissions
from demo.program import wait_until
from demo.stage import BIN, ROOT, Stage

ALERT = read_alert(ROOT / "demo" / "alert.json")


def aisops(stage: Stage, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the operator's client against the stage."""
    done = subprocess.run(
        [BIN / "aisops", *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(stage.home), "AISOPS_URL": stage.url, "AISOPS_TOKEN": stage.token},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def submit(stage: Stage, capability: str, document: object, *options: str, expect: int = 0) -> dict[str, Any]:
    """Submit through the command line, wait, and return the job."""
    done = aisops(
        stage, "job", "submit", capability, "--input", json.dumps(document), "--wait", "--json", *options, expect=expect
    )
    job: dict[str, Any] = json.loads(done.stdout)
    return job


@pytest.mark.parametrize("channel", range(4), ids=["slack", "email", "telegram", "kakao"])
def test_a_job_reaches_its_provider_exactly_once(stage: Stage, channel: int) -> None:
    """`aisops job submit … --wait` ends with the text at the provider, once, and its id at Core."""
    submission = submissions(ALERT, stage.targets)[channel]
    before = len(stage.received().get(submission.provider, ()))

    job = submit(stage, submission.capability, submission.input)

    messages = stage.received()[submission.provider][before:]
    assert len(messages) == 1
    assert ALERT.text in messages[0]["text"].replace("\r\n", "\n")
    assert job["state"] == "succeeded"
    assert job["output"]["message_id"]
    assert job["execution"]["sidecar_pid"] in {p.pid for p in psutil.Process(stage.runner.pid).children(recursive=True)}


def test_a_job_waits_for_a_runner_that_is_away(stage: Stage) -> None:
    """A job submitted while the Runner is down stays queued and is delivered when it comes back."""
    stage.runner.stop()
    done = aisops(
        stage,
        "job",
        "submit",
        "slack.send",
        "--input",
        '{"target": "#ops", "text": "while you were away"}',
        "--json",
    )
    job = json.loads(done.stdout)
    assert job["state"] == "queued"

    stage.start_runner()

    def ended() -> dict[str, Any] | None:
        shown: dict[str, Any] = json.loads(aisops(stage, "job", "show", job["id"], "--json").stdout)
        return shown if shown["state"] == "succeeded" else None

    assert wait_until(ended, "the job's success")
    assert [m for m in stage.received()["slack"] if m["text"] == "while you were away"]


def test_the_same_idempotency_key_is_one_job(stage: Stage) -> None:
    """Two submissions with one key are one job and one message; another body under that key is refused."""
    document = {"target": "#ops", "text": "once only"}
    first = submit(stage, "slack.send", document, "--idempotency-key", "e2e-once")
    second = submit(stage, "slack.send", document, "--idempotency-key", "e2e-once")

    assert first["id"] == second["id"]
    assert len([m for m in stage.received()["slack"] if m["text"] == "once only"]) == 1
    refused = aisops(
        stage, "job", "submit", "slack.send", "--input", '{"target": "#ops", "text": "other"}',
        "--idempotency-key", "e2e-once", expect=1,
    )  # fmt: skip
    assert "idempotency" in refused.stderr.lower()
    assert "Traceback" not in refused.stderr


def test_the_runner_shows_itself(stage: Stage) -> None:
    """`aisops-runner status` and `plugin list` tell a person on the machine what is going on."""
    status = stage.runner_status()
    assert status["core"]["state"] == "connected"
    assert {"slack", "email", "telegram", "kakao"} <= {plugin["name"] for plugin in status["plugins"]}
    listing = subprocess.run(
        [BIN / "aisops-runner", "plugin", "list", "--config", stage.runner_config],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    for name in ("slack", "email", "telegram", "kakao"):
        assert name in listing.stdout


def test_no_secret_is_in_any_log(stage: Stage) -> None:
    """Neither the plugins' secrets nor any token stands in a log, a database of the Runner or of Core."""
    secrets = [path.read_text() for path in (stage.home / "secrets").iterdir()]
    secrets = [s for s in secrets if len(s) >= 16 and not s.startswith(("http", "{"))]
    secrets += [stage.token, (stage.home / "runner-token").read_text()]
    files = [*stage.home.glob("*.log"), *(stage.home / "core").rglob("*"), *(stage.home / "runner").rglob("*")]
    for path in files:
        if path.is_file():
            content = path.read_bytes()
            assert not [s for s in secrets if s.encode() in content], f"a secret stands in {path.name}"
    for path in [*(stage.home / "core").rglob("*"), *(stage.home / "runner").rglob("*")]:
        if path.is_file() and not path.is_socket():
            assert path.stat().st_mode & 0o077 == 0, f"{path.name} can be read by others"


def test_stopping_leaves_no_process(stage: Stage) -> None:
    """An orderly stop of the Runner ends every sidecar and exits 0."""
    family = psutil.Process(stage.runner.pid).children(recursive=True)
    assert family

    assert stage.runner.stop() == 0
    _, alive = psutil.wait_procs(family, timeout=2)

    assert not alive
    stage.start_runner()


def test_killing_the_runner_leaves_no_sidecar(stage: Stage) -> None:
    """kill -9 of the Runner takes its sidecars with it within two seconds."""
    submit(stage, "slack.send", {"target": "#ops", "text": "wakes the sidecar"})
    family = psutil.Process(stage.runner.pid).children(recursive=True)
    assert family

    stage.runner.kill()
    _, alive = psutil.wait_procs(family, timeout=2)

    assert not alive
    stage.start_runner()
