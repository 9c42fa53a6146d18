"""Two machines with one Runner's disk, from outside: the second is refused, or not given what the first began."""

from __future__ import annotations

import json
import secrets
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from aisops_protocol.limits import FEATURE_SESSION_EPOCH
from aisops_protocol.messages import Capability, Heartbeat, Hello, Job, Ping, Welcome
from tests.support.core_process import BIN, CoreProcess, until
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


def clones_told(core: CoreProcess, runner_id: str) -> list[Any]:
    """The data of every event about clones of a Runner."""
    events = core.api("GET", f"/runners/{runner_id}/events").json["items"]
    return [event["data"] for event in events if event["kind"] == "clone_refused"]


def refused(core: CoreProcess, token: str, original: RawRunner, hello: Hello) -> str:
    """Call as another machine while the original answers; why Core ended the stream."""
    with RawRunner(core.grpc_port, token, runner_id=original.runner_id) as clone:
        clone.volatile(hello)
        original.receive(Ping)
        original.volatile(Heartbeat(1, free_slots=1))
        end, goodbye = clone.end()
    assert goodbye is not None
    assert goodbye.code == end.reason
    return end.reason


def aisops(core: CoreProcess, *arguments: str) -> str:
    """What the operator's client prints."""
    environment = {"PATH": "/usr/bin:/bin", "AISOPS_URL": core.http_url, "AISOPS_TOKEN": core.admin_token}
    return subprocess.run(
        [BIN / "aisops", *arguments], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_a_refused_clone_is_found_by_the_operator_afterwards(core: CoreProcess) -> None:
    token = core.create_runner("doubled")
    assert core.api("GET", "/runners/doubled").json["clone_refused_at"] is None
    copy = replace(build_hello(), boot_id="another-machine")
    with RawRunner(core.grpc_port, token, runner_id="doubled") as original:
        session_id = original.greet().session_id
        assert [refused(core, token, original, copy) for _ in range(3)] == ["DUPLICATE_INSTANCE"] * 3
        until(lambda: clones_told(core, "doubled"), "the refusal being on record")
        core.api("POST", "/runners/doubled/tokens")  # a write behind which everything before it is stored
        (told,) = clones_told(core, "doubled")
    assert told["calls"] == 1, "the others are counted with the next event"
    assert told["refused"]["boot_id"] == "another-machine"
    assert told["refused"]["instance_id"] == copy.instance_id.hex()
    assert told["refused"]["token_id"] in token
    assert told["connected"]["session_id"] == session_id.hex()
    addresses = {told["refused"]["address"], told["connected"]["address"]}
    assert len(addresses) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert "clone_refused_at" in aisops(core, "runner", "show", "doubled")
    shown = aisops(core, "runner", "events", "doubled")
    assert "A second machine called as Runner 'doubled' from 127.0.0.1:" in shown
    assert "Stop one of the two" in shown
    listed = json.loads(core.administer("audit", "list", "--json", "--limit", "1000").stdout)["items"]
    record = next(one for one in listed if one["action"] == "runner.clone_refused" and one["subject"] == "doubled")
    assert record["detail"]["refused"] == told["refused"]
    assert core.administer("audit", "verify").returncode == 0
