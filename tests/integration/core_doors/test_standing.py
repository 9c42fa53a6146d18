"""Where a job stands and what a person decides about it, through the real doors: HTTP and `aisops`."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aisops_protocol.messages import Capability, EffectClass, Job, JobAccept, JobResult, ResultStatus
from tests.support.core_process import BIN, CoreProcess, until
from tests.support.raw_runner import RawRunner

pytestmark = pytest.mark.integration
ONCE = Capability("test.once", "test", "1.0", EffectClass.AT_MOST_ONCE, input_schema=b'{"type":"object"}')


@dataclass
class Once:
    """A Runner that can connect as often as it likes."""

    name: str
    token: str
    port: int

    def connect(self) -> RawRunner:
        runner = RawRunner(self.port, self.token, runner_id=self.name)
        runner.greet(ONCE)
        return runner


def aisops(core: CoreProcess, *words: str, code: int = 0, token: Path | None = None) -> str:
    done = subprocess.run(
        [str(BIN / "aisops"), *words],
        env={
            "PATH": os.environ["PATH"],
            "AISOPS_URL": core.http_url,
            "AISOPS_TOKEN_FILE": str(token or core.home / "admin-token"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def submit(core: CoreProcess, capability: str = "test.once") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(aisops(core, "job", "submit", capability, "--input", "{}", "--json"))
    return document


@pytest.fixture
def once(core: CoreProcess) -> Once:
    """A Runner of its own for one test, with an at-most-once capability."""
    name = f"once-{secrets.token_hex(4)}"
    return Once(name, core.create_runner(name), core.grpc_port)


def test_a_job_in_the_queue_is_explained_to_people_and_programs(core: CoreProcess) -> None:
    with RawRunner(core.grpc_port, (core.home / "runner-token").read_text()) as runner:
        runner.greet()
    job = json.loads(aisops(core, "job", "submit", "test.echo", "--input", '{"text":"x"}', "--json"))
    told = aisops(core, "job", "explain", job["id"])
    assert "is queued." in told
    assert "it ends timed_out, because no Runner took it within its queue time." in told
    assert "runner-1" in told
    document = json.loads(aisops(core, "job", "explain", job["id"], "--json"))
    assert document["owner"] == "core"
    assert document["deadline"]["leads_to"] == "timed_out"
    assert {found["runner_id"] for found in document["runners"]} >= {"runner-1"}
    aisops(core, "job", "cancel", job["id"])
    assert "ended cancelled" in aisops(core, "job", "explain", job["id"])


def test_an_uncertain_job_is_resolved_once_and_for_all(core: CoreProcess, once: Once) -> None:
    with once.connect() as runner:
        job = submit(core)
        given = runner.receive(Job)
        runner.durable(
            JobAccept(given.job_id, given.lease_id, 1),
            JobResult(given.job_id, given.lease_id, 1, ResultStatus.UNCERTAIN),
        )
        aisops(core, "job", "logs", "-f", job["id"])  # returns when it has ended
        told = aisops(core, "job", "explain", job["id"])
        assert "Whether it happened outside is not known." in told
        assert f"aisops job resolve {job['id']}" in told
        assert "a reason" in aisops(core, "job", "resolve", job["id"], "--as", "failed", "--note", " ", code=1)
        retry = ("job", "resolve", job["id"], "--as", "retry", "--note", "nothing there", "--attempt", "1")
        assert "as attempt 2" in aisops(core, *retry)
        again = runner.receive(Job)
        assert (again.job_id, again.attempt) == (given.job_id, 2)
        runner.durable(
            JobAccept(again.job_id, again.lease_id, 2),
            JobResult(again.job_id, again.lease_id, 2, ResultStatus.UNCERTAIN),
        )
        aisops(core, "job", "logs", "-f", job["id"])
        aisops(core, *retry)  # the same request, come twice: nobody asked for a third run
        other = aisops(core, "job", "resolve", job["id"], "--as", "failed", "--note", "x", "--attempt", "1", code=1)
        assert "is at attempt 2" in other
        assert json.loads(aisops(core, "job", "show", job["id"], "--json"))["state"] == "uncertain"
        assert "is succeeded" in aisops(core, "job", "resolve", job["id"], "--as", "succeeded", "--note", "seen")
        aisops(core, "job", "resolve", job["id"], "--as", "succeeded", "--note", "seen again")
        refused = aisops(core, "job", "resolve", job["id"], "--as", "failed", "--note", "changed my mind", code=1)
        assert "only an uncertain job" in refused
    shown = json.loads(aisops(core, "job", "show", job["id"], "--json"))
    assert [one["verdict"] for one in shown["resolutions"]] == ["retry", "succeeded"]
    assert shown["error"] is None
    kinds = [entry["kind"] for entry in json.loads(aisops(core, "job", "timeline", job["id"], "--json"))["items"]]
    assert kinds.count("uncertain") == 2
    assert {"resolved_retry", "resolved_succeeded"} <= set(kinds)


def test_a_viewer_may_ask_but_not_decide(core: CoreProcess, once: Once, tokens: dict[str, str], tmp_path: Path) -> None:
    with once.connect():
        job = submit(core)
        viewer = tmp_path / "viewer"
        viewer.write_text(tokens["viewer"])
        viewer.chmod(0o600)
        assert job["id"] in aisops(core, "job", "explain", job["id"], token=viewer)
        refused = aisops(core, "job", "resolve", job["id"], "--as", "failed", "--note", "x", code=1, token=viewer)
        assert "role" in refused


@pytest.mark.parametrize("body", ['{"as":"perhaps","note":"x"}', '{"as":"failed"}', '{"as":"failed","note":""}', "{}"])
def test_a_decision_without_sense_is_refused(core: CoreProcess, tokens: dict[str, str], body: str) -> None:
    answer = core.request("POST", "/api/v1/jobs/job_none/resolve", token=tokens["operator"], raw=body.encode())
    assert (answer.status, answer.code) == (422, "invalid_request")


def test_a_result_that_came_too_late_is_shown(core: CoreProcess, once: Once) -> None:
    with once.connect() as runner:
        job = submit(core)
        given = runner.receive(Job)
        runner.durable(JobAccept(given.job_id, given.lease_id, 1))
        runner.half_close()
        runner.end()
    with once.connect() as copy:  # another journal, which knows nothing of the job
        aisops(core, "job", "logs", "-f", job["id"])
        copy.durable(JobResult(given.job_id, given.lease_id, 1, ResultStatus.SUCCEEDED, b'{"sent":true}'))

        def late() -> dict[str, Any] | None:
            shown: dict[str, Any] = json.loads(aisops(core, "job", "show", job["id"], "--json"))
            return shown if shown["late_results"] else None

        shown = until(late, "the late result")
    assert shown["state"] == "uncertain"
    (kept,) = shown["late_results"]
    assert (kept["state"], kept["output"], kept["runner_id"]) == ("succeeded", {"sent": True}, once.name)
