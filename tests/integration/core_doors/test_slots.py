"""A Runner's slots are its credit for jobs: Core sends no more than it has said it can take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from aisops_protocol.messages import Heartbeat, Job, JobAccept, JobResult, ResultStatus, Welcome
from tests.support.core_process import CoreProcess, until
from tests.support.raw_runner import RawRunner, build_hello

pytestmark = pytest.mark.integration

SLOTS = 2


def receive_jobs(runner: RawRunner, marker: int) -> Iterator[Job]:
    """The jobs that came before the answer to a heartbeat of which the clock says `marker`."""
    runner.volatile(Heartbeat(marker, free_slots=0))
    for body in runner._down:
        if isinstance(body, Job):
            yield body
        elif getattr(body, "echo_clock_unix_ms", 0) == marker:
            return


def test_no_more_jobs_are_sent_than_there_are_slots(core: CoreProcess) -> None:
    token = core.create_runner("small")
    with RawRunner(core.grpc_port, token, runner_id="small") as runner:
        runner.volatile(replace(build_hello(), job_slots=SLOTS))
        runner.session_id = runner.receive(Welcome).session_id
        wanted = {"capability": "test.echo", "input": {"text": "hello"}, "runner_id": "small"}
        for _ in range(3 * SLOTS):
            assert core.api("POST", "/jobs", wanted).status == 202
        first = [runner.receive(Job) for _ in range(SLOTS)]
        assert list(receive_jobs(runner, 1)) == []
        runner.durable(*(JobAccept(job.job_id, job.lease_id, job.attempt) for job in first))
        assert list(receive_jobs(runner, 2)) == [], "an accepted job has its slot until it ends"
        job = first[0]
        runner.durable(JobResult(job.job_id, job.lease_id, job.attempt, ResultStatus.SUCCEEDED))
        until(lambda: core.api("GET", f"/jobs/{job.job_id}").json["state"] == "succeeded", "the first job's end")
        assert runner.receive(Job).job_id not in {each.job_id for each in first}
        assert list(receive_jobs(runner, 3)) == []
