"""Two machines with one Runner's disk, from outside: what the first began is not given to the second."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from aisops_protocol.limits import FEATURE_SESSION_EPOCH
from aisops_protocol.messages import Capability, Heartbeat, Hello, Job, Welcome
from tests.support.core_process import CoreProcess, until
from tests.support.raw_runner import RawRunner, build_hello

pytestmark = pytest.mark.integration

MAIL = Capability("test.mail", "test", "1.0")


def greet(runner: RawRunner, hello: Hello) -> int:
    """Say Hello and live; the epoch of the session."""
    runner.volatile(hello)
    welcome = runner.receive(Welcome)
    runner.session_id = welcome.session_id
    return welcome.session_epoch


def test_a_copy_does_not_do_what_the_original_may_have_done(core: CoreProcess) -> None:
    """The line is cut before the original's JobAccept reaches Core; its copy, made a session earlier, comes instead."""
    token = core.create_runner("copied")
    disk = replace(build_hello(MAIL), feature_bits=FEATURE_SESSION_EPOCH)
    with RawRunner(core.grpc_port, token, runner_id="copied") as runner:
        copied = greet(runner, disk)
    disk = replace(disk, last_session_epoch=copied)
    with RawRunner(core.grpc_port, token, runner_id="copied") as original:
        greet(original, disk)
        original.volatile(Heartbeat(1, free_slots=7))
        until(lambda: core.api("GET", "/runners/copied").json["free_slots"] == 7, "the heartbeat being recorded")
        made = core.api("POST", "/jobs", {"capability": "test.mail", "input": {}, "runner_id": "copied"}).json
        job = original.receive(Job)
        assert job.job_id == made["id"]
    with RawRunner(core.grpc_port, token, runner_id="copied") as copy:
        greet(copy, replace(disk, instance_id=secrets.token_bytes(16)))
        assert core.api("GET", f"/jobs/{job.job_id}?wait=10").json["state"] == "uncertain"
        kinds = [event["kind"] for event in core.api("GET", "/runners/copied/events").json["items"]]
        assert "set_back" in kinds
