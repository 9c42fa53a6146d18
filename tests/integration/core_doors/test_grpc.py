"""The gRPC door from outside: a job's way to a Runner and back, and every kind of peer that must be turned away."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from aisops_core.identity.tokens import mint
from aisops_protocol.messages import (
    Ack,
    Heartbeat,
    Job,
    JobAccept,
    JobCancel,
    JobResult,
    LogEvent,
    LogLevel,
    Pong,
    ResultStatus,
    RunnerEnvelope,
)
from tests.support.core_process import CoreProcess, until
from tests.support.raw_runner import RawRunner, build_hello

pytestmark = pytest.mark.integration

GOOD = {"capability": "test.echo", "input": {"text": "hello"}}


@pytest.fixture
def nothing_changed(core: CoreProcess) -> Iterator[None]:
    """Checks at the end that no session was opened and no job appeared."""

    def state() -> tuple[Any, Any]:
        return core.api("GET", "/runners/runner-1").json["last_seen_at"], core.api("GET", "/jobs").json

    before = state()
    yield
    assert state() == before


def submit(core: CoreProcess, **more: Any) -> dict[str, Any]:
    made = core.api("POST", "/jobs", {**GOOD, **more})
    assert made.status == 202, made.body
    job: dict[str, Any] = made.json
    return job


def receive_job(runner: RawRunner, job_id: str) -> Job:
    while (job := runner.receive(Job)).job_id != job_id:
        pass
    return job


def test_a_job_goes_to_its_runner_and_its_result_comes_back(core: CoreProcess, runner_token: str) -> None:
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.greet()
        submitted = submit(core)
        job = receive_job(runner, submitted["id"])
        assert (job.capability, job.input, job.effect_key) == ("test.echo", b'{"text":"hello"}', job.job_id)
        runner.durable(
            JobAccept(job.job_id, job.lease_id, job.attempt),
            LogEvent(LogLevel.INFO, "working\nhard", 1_700_000_000_000, job.job_id, "sidecar"),
            JobResult(job.job_id, job.lease_id, job.attempt, ResultStatus.SUCCEEDED, b'{"said":"hello"}'),
        )
        while runner.receive(Ack).seq < 3:
            pass
        done = core.api("GET", f"/jobs/{job.job_id}?wait=5").json
        assert (done["state"], done["output"], done["runner_id"]) == ("succeeded", {"said": "hello"}, "runner-1")
        lines = core.api("GET", f"/jobs/{job.job_id}/logs").json["items"]
        assert [(line["text"], line["level"], line["source"]) for line in lines] == [
            ("working\nhard", "info", "sidecar")
        ]


def test_a_caller_that_waits_is_answered_when_the_job_ends(core: CoreProcess, runner_token: str) -> None:
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.greet()
        job = receive_job(runner, submit(core)["id"])
        runner.durable(JobResult(job.job_id, job.lease_id, job.attempt, ResultStatus.SUCCEEDED, b'"\\ud800"'))
        answer = core.api("GET", f"/jobs/{job.job_id}?wait=30")
        assert answer.json["output"] == "\ud800", "even a text that is not Unicode can be read back"


def test_a_cancel_reaches_the_runner(core: CoreProcess, runner_token: str) -> None:
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.greet()
        job = receive_job(runner, submit(core)["id"])
        runner.durable(JobAccept(job.job_id, job.lease_id, job.attempt))
        until(lambda: core.api("GET", f"/jobs/{job.job_id}").json["state"] == "running", "the job running")
        asked = core.api("POST", f"/jobs/{job.job_id}/cancel")
        assert (asked.status, asked.json["cancel_requested"]) == (202, True)
        assert runner.receive(JobCancel).job_id == job.job_id
        runner.durable(JobResult(job.job_id, job.lease_id, job.attempt, ResultStatus.CANCELLED))
        assert core.api("GET", f"/jobs/{job.job_id}?wait=10").json["state"] == "cancelled"


def test_a_heartbeat_gets_its_pong_and_the_runner_is_shown_connected(core: CoreProcess, runner_token: str) -> None:
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.greet()
        runner.volatile(Heartbeat(42, free_slots=7))
        assert runner.receive(Pong).echo_clock_unix_ms == 42
        until(lambda: core.api("GET", "/runners/runner-1").json["free_slots"] == 7, "the heartbeat being recorded")
        assert core.api("GET", "/runners/runner-1").json["connected"]
    until(lambda: not core.api("GET", "/runners/runner-1").json["connected"], "the Runner being shown offline")


@pytest.mark.usefixtures("nothing_changed")
@pytest.mark.parametrize("kind", ["none", "nonsense", "damaged", "unknown", "api"])
def test_a_token_that_is_not_a_runners_is_refused(core: CoreProcess, runner_token: str, kind: str) -> None:
    tokens = {
        "none": None,
        "nonsense": "x",
        "damaged": runner_token[:-12] + "A" * 12,
        "unknown": mint("run", secrets.token_bytes).text(),
        "api": core.admin_token,
    }
    with RawRunner(core.grpc_port, tokens[kind]) as runner:
        runner.volatile(build_hello())
        end, goodbye = runner.end()
    assert (end.status, end.reason, goodbye) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", None)


@pytest.mark.usefixtures("nothing_changed")
def test_a_caller_that_says_nothing_is_refused_all_the_same(core: CoreProcess) -> None:
    with RawRunner(core.grpc_port, "x") as runner:
        end, goodbye = runner.end()
    assert (end.status, end.reason, goodbye) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", None)


@pytest.mark.usefixtures("nothing_changed")
@pytest.mark.parametrize("claim", [{"tenant_id": "t_other"}, {"runner_id": "runner-2"}])
def test_a_hello_in_anothers_name_is_refused(core: CoreProcess, runner_token: str, claim: dict[str, str]) -> None:
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.volatile(build_hello(), **claim)
        end, goodbye = runner.end()
    assert (end.status, end.reason) == (grpc.StatusCode.PERMISSION_DENIED, "IDENTITY_MISMATCH")
    assert goodbye is not None
    assert goodbye.code == "IDENTITY_MISMATCH"
    assert not set(claim.values()) & set(end.text.split())


@pytest.mark.parametrize("claim", [{"tenant_id": "t_other"}, {"runner_id": "runner-2"}, {"session_id": b"x" * 16}])
def test_one_foreign_frame_ends_an_open_session_and_nothing_of_it_is_stored(
    core: CoreProcess, runner_token: str, claim: dict[str, Any]
) -> None:
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.greet()
        job = receive_job(runner, submit(core)["id"])
        result = JobResult(job.job_id, job.lease_id, job.attempt, ResultStatus.SUCCEEDED, b"1")
        runner.durable(JobAccept(job.job_id, job.lease_id, job.attempt), result, **claim)
        end, _ = runner.end()
    assert (end.status, end.reason) == (grpc.StatusCode.PERMISSION_DENIED, "IDENTITY_MISMATCH")
    assert core.api("GET", f"/jobs/{job.job_id}").json["state"] in {"leased", "queued"}


@pytest.mark.usefixtures("nothing_changed")
def test_octets_that_are_no_frame_and_messages_out_of_turn_are_refused(core: CoreProcess, runner_token: str) -> None:
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.raw(b"\xff\xff\xff")
        end, _ = runner.end()
    assert (end.status, end.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID")
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.volatile(Heartbeat(1))
        end, _ = runner.end()
    assert (end.status, end.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UNEXPECTED_MESSAGE")
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.raw(b"\0" * 4_200_000)
        end, _ = runner.end()
    assert end.status in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}


def test_a_hole_in_the_numbers_asks_for_a_rewind_and_stores_nothing(core: CoreProcess, runner_token: str) -> None:
    from aisops_protocol.messages import Rewind

    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.greet()
        runner.frame([RunnerEnvelope(LogEvent(LogLevel.INFO, "x", 1), 5, b"m" * 16)])
        assert runner.receive(Rewind).from_seq == 1


def test_another_method_is_unimplemented(core: CoreProcess) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{core.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/x.Y/Z")(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_a_runner_that_leaves_in_order_ends_ok(core: CoreProcess, runner_token: str) -> None:
    with RawRunner(core.grpc_port, runner_token) as runner:
        runner.greet()
        runner.half_close()
        end, goodbye = runner.end()
    assert (end.status, goodbye) == (grpc.StatusCode.OK, None)


def test_core_is_unharmed_by_all_of_this(core: CoreProcess) -> None:
    assert core.request("GET", "/readyz").status == 200
    assert "stream failed" not in core.log
    assert "Traceback" not in core.log
