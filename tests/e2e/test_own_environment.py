"""A vendor's plugin, built as a wheel, installed offline into an environment of its own, serves jobs of a real Core."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from demo.program import wait_until
from demo.stage import BIN, Stage
from tests.support.wheelhouse import NoIndex, build_acme, fill

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1200)]
TOKEN = "acme-secret-of-this-test"


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once a session; without a package index there is no way to have what the SDK needs."""
    house = tmp_path_factory.mktemp("wheelhouse")
    try:
        fill(house)
    except NoIndex as error:
        pytest.skip(f"no package index within reach to fill a wheelhouse from: {error}")
    build_acme(tmp_path_factory.mktemp("vendor"), house, "1.0")
    return house


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Core and a connected Runner in which no plugin of the developer's environment is on."""
    with Stage(tmp_path_factory.mktemp("own")) as stage:
        stage.plugin_env = {"acme-chat": {"ACME_TOKEN": TOKEN}}
        stage.start_core()
        stage.create_runner()
        off = "".join(f"[plugins.{name}]\nenabled = false\n" for name in ("slack", "email", "telegram", "kakao"))
        stage.runner_config.write_text(f"describe_timeout_s = 60\n{stage.runner_config.read_text()}{off}")
        stage.start_runner()
        yield stage


def plugin(stage: Stage, *words: str, expect: int = 0) -> dict[str, Any]:
    """`aisops-runner plugin … --json`, with nothing that leads to an index."""
    done = subprocess.run(
        [BIN / "aisops-runner", "plugin", words[0], "--config", stage.runner_config, *words[1:], "--json"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(stage.home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout or done.stderr.splitlines()[-1])
    return found


def aisops(stage: Stage, *arguments: str, expect: int = 0) -> dict[str, Any]:
    """The operator's client."""
    done = subprocess.run(
        [BIN / "aisops", *arguments, "--json"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(stage.home), "AISOPS_URL": stage.url, "AISOPS_TOKEN": stage.token},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def submit(stage: Stage, **document: str) -> str:
    return str(aisops(stage, "job", "submit", "acme.echo", "--input", json.dumps(document))["id"])


def ended(stage: Stage, job: str) -> dict[str, Any]:
    """Wait for a job's end."""

    def look() -> dict[str, Any] | None:
        found = aisops(stage, "job", "show", job)
        return found if found["state"] not in {"queued", "leased", "running"} else None

    return wait_until(look, f"the end of {job}", 120)


def offered(stage: Stage) -> bool:
    """Whether Core has heard that the Runner offers the plugin's capability."""
    record = stage.connected_runner() or {}
    return "acme.echo" in json.dumps(record.get("capabilities", []))


def test_installed_upgraded_rolled_back_and_removed_while_the_runner_works(
    stage: Stage, wheelhouse: Path, tmp_path: Path
) -> None:
    """The whole life of a plugin under one running Runner: no restart, and no job of any version is lost."""
    offline = ("--wheelhouse", str(wheelhouse))
    done = plugin(stage, "install", "acme-chat-plugin", *offline)
    assert (done["name"], done["version"], done["runner"]) == ("acme-chat", "1.0", "taken_up")
    wait_until(lambda: offered(stage) or None, "Core's knowing of the capability", 60)
    job = ended(stage, submit(stage, text="안녕"))
    assert job["state"] == "succeeded", job
    assert (job["output"]["version"], job["output"]["text"]) == ("1.0", "안녕")
    assert "/plugins/environments/acme-chat-plugin-1.0-" in job["output"]["sdk"], "nothing of the Runner's environment"
    sidecar = psutil.Process(job["execution"]["sidecar_pid"])
    assert "environments" in sidecar.cmdline()[0]

    # An upgrade while a job runs: that one ends with the old version, all its files included, the next has the new one.
    gate = tmp_path / "gate"
    waiting = submit(stage, text="old", until_exists=str(gate))
    wait_until(lambda: gate.with_name("gate.begun").exists() or None, "the job's beginning", 60)
    build_acme(tmp_path, wheelhouse, "1.1")
    done = plugin(stage, "upgrade", "acme-chat", *offline)
    assert (done["version"], done["before"], done["runner"]) == ("1.1", "1.0", "taken_up")
    assert ended(stage, submit(stage, text="new"))["output"]["version"] == "1.1"
    assert sidecar.is_running(), "the old one still has a job"
    gate.touch()
    job = ended(stage, waiting)
    assert (job["state"], job["output"]["version"]) == ("succeeded", "1.0")
    wait_until(lambda: not psutil.pid_exists(sidecar.pid) or None, "the old sidecar's end", 60)

    assert plugin(stage, "rollback", "acme-chat")["runner"] == "taken_up"
    assert ended(stage, submit(stage))["output"]["version"] == "1.0"
    lines = [line["text"] for line in plugin(stage, "logs", "acme-chat")["items"]]
    assert [text for text in lines if "echo from 1.1" in text]
    assert TOKEN not in "".join(lines)
    findings = plugin(stage, "doctor", "acme-chat")["items"]
    assert [one["check"] for one in findings] == [
        "environment",
        "interpreter",
        "files",
        "describes",
        "variables",
        "state",
    ]
    assert all(one["ok"] for one in findings)

    # Disabled and enabled, uninstalled: Core hears of each.
    assert plugin(stage, "disable", "acme-chat")["runner"] == "taken_up"
    wait_until(lambda: not offered(stage) or None, "Core's knowing that it is off", 60)
    assert plugin(stage, "enable", "acme-chat")["runner"] == "taken_up"
    wait_until(lambda: offered(stage) or None, "Core's knowing that it is on", 60)
    stage.runner.stop()
    stage.start_runner()
    assert ended(stage, submit(stage))["output"]["version"] == "1.0", "kept over a restart"
    assert plugin(stage, "uninstall", "acme-chat", "--purge")["runner"] == "taken_up"
    wait_until(lambda: not offered(stage) or None, "Core's knowing that it is gone", 60)
    folder = stage.home / "runner" / "plugins"
    assert list((folder / "environments").iterdir()) == []
    assert not list((folder / "logs").glob("acme-chat*"))
    assert not (folder / "home" / "acme-chat").exists()
