"""Many jobs in one request, from outside: each is taken or refused on its own, and waits end together."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aisops_protocol.messages import Job, JobAccept, JobResult, ResultStatus, RunnerBody
from tests.support.core_process import BIN, CoreProcess, Response, running_core
from tests.support.raw_runner import RawRunner, working

pytestmark = pytest.mark.integration

GOOD = {"capability": "test.echo", "input": {"text": "hello"}}
BATCH = "/jobs/batch"


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreProcess]:
    """A Core of its own: a thousand jobs left waiting would be in others' way."""
    with running_core(tmp_path_factory.mktemp("batches")) as made:
        token = made.create_runner("runner-1")
        with RawRunner(made.grpc_port, token) as runner:
            runner.greet()
        (made.home / "runner-token").write_text(token)
        yield made


def done(job: Job, output: bytes) -> list[RunnerBody]:
    ids = (job.job_id, job.lease_id, job.attempt)
    return [JobAccept(*ids), JobResult(*ids, ResultStatus.SUCCEEDED, output)]


@pytest.fixture
def answering(core: CoreProcess, runner_token: str) -> Iterator[None]:
    """A Runner that does every job and gives its input back."""
    with working(core.grpc_port, runner_token, lambda job: done(job, job.input)):
        yield


def submit(core: CoreProcess, *jobs: Any, wait_s: int | None = None) -> Response:
    return core.api("POST", BATCH, {"jobs": jobs}, headers={} if wait_s is None else {"Prefer": f"wait={wait_s}"})


@pytest.mark.usefixtures("answering")
def test_a_batch_is_answered_in_order_when_every_job_has_ended(core: CoreProcess) -> None:
    wanted = [{**GOOD, "input": {"text": f"n°{n}"}} for n in range(100)]
    answer = submit(core, *wanted, wait_s=30)
    assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=30")
    items = answer.json["items"]
    assert [item["job"]["output"] for item in items] == [one["input"] for one in wanted]
    assert all(item["created"] and item["problem"] is None for item in items)
    for item in (items[0], items[-1]):
        assert core.api("GET", f"/jobs/{item['job']['id']}").json == item["job"], "the same document everywhere"


def test_outputs_beyond_the_room_of_one_answer_are_left_out_and_stand_in_each_jobs_own_document(
    core: CoreProcess, runner_token: str
) -> None:
    large = json.dumps({"text": "x" * 200_000}).encode()
    wanted = [{**GOOD, "idempotency_key": f"large-{n}"} for n in range(90)]
    with working(core.grpc_port, runner_token, lambda job: done(job, large)):
        first, again = submit(core, *wanted, wait_s=30), submit(core, *wanted, wait_s=30)
    for answer in (first, again):
        jobs = [item["job"] for item in answer.json["items"]]
        assert answer.status == 200
        assert sum(job["output_left_out"] for job in jobs) == 90 - 16 * 1024 * 1024 // len(large)
        assert all((job["output"] is None) is job["output_left_out"] for job in jobs)
    left_out = next(job for job in jobs if job["output_left_out"])
    shown = core.api("GET", f"/jobs/{left_out['id']}").json
    assert (shown["output"], shown["output_left_out"]) == (json.loads(large), False)


WRONG: list[tuple[str, Any, int, str, str]] = [
    ("unknown capability", {**GOOD, "capability": "test.unknown"}, 422, "unknown_capability", ""),
    ("input breaks the schema", {**GOOD, "input": {"text": 5}}, 422, "input_invalid", "/input/text"),
    ("no input", {"capability": "test.echo"}, 422, "invalid_request", "/input"),
    ("unknown key", {**GOOD, "s3cret": 1}, 422, "invalid_request", "/s3cret"),
    ("not an object", ["s3cret"], 422, "invalid_request", ""),
    ("null", None, 422, "invalid_request", ""),
    ("bad label", {**GOOD, "labels": {"a": 1}}, 422, "invalid_request", "/labels/a"),
    ("empty key", {**GOOD, "idempotency_key": ""}, 422, "invalid_request", "/idempotency_key"),
    ("key with a space", {**GOOD, "idempotency_key": "a b"}, 422, "invalid_request", "/idempotency_key"),
    ("long key", {**GOOD, "idempotency_key": "k" * 256}, 422, "invalid_request", "/idempotency_key"),
    ("key that is a number", {**GOOD, "idempotency_key": 1}, 422, "invalid_request", "/idempotency_key"),
    ("oversized input", {**GOOD, "input": {"text": "x" * 1_048_576}}, 413, "input_too_large", ""),
    ("a Runner that is none", {**GOOD, "runner_id": "none"}, 422, "unknown_capability", ""),
]  # fmt: skip


@pytest.mark.parametrize(("item", "status", "code", "pointer"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_one_bad_job_is_refused_alone(core: CoreProcess, item: Any, status: int, code: str, pointer: str) -> None:
    answer = submit(core, GOOD, item, GOOD)
    assert answer.status == 202
    first, refused, last = answer.json["items"]
    assert (refused["job"], refused["created"]) == (None, False)
    assert (refused["problem"]["status"], refused["problem"]["code"]) == (status, code)
    if pointer:
        assert refused["problem"]["errors"][0]["pointer"] == pointer
    for good in (first, last):
        assert (good["job"]["state"], good["created"], good["problem"]) == ("queued", True, None)


def test_a_batch_of_nothing_but_bad_jobs_is_answered_in_full(core: CoreProcess) -> None:
    answer = submit(core, {}, [], wait_s=5)
    assert answer.status == 200
    assert [item["problem"]["code"] for item in answer.json["items"]] == ["invalid_request"] * 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"jobs": []}, 422, "invalid_request"),
        ({"jobs": [{}] * 1001}, 422, "invalid_request"),
        ({"jobs": {"0": GOOD}}, 422, "invalid_request"),
        ({"jobs": None}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"jobs": [GOOD], "more": 1}, 422, "invalid_request"),
        ([GOOD], 422, "invalid_request"),
        ({"jobs": ["x" * (16 * 1024 * 1024)]}, 413, "body_too_large"),
    ],
)
def test_what_is_no_batch_is_refused_whole(core: CoreProcess, body: Any, status: int, code: str) -> None:
    answer = core.api("POST", BATCH, body)
    assert (answer.status, answer.code) == (status, code)


def test_malformed_json_is_refused_whole(core: CoreProcess) -> None:
    for raw in (
        b'{"jobs":[{"capability":"test.echo","input":NaN}]}',
        b'{"jobs":[' + b"[" * 70 + b"]" * 70 + b"]}",
        b"{",
    ):
        assert core.api("POST", BATCH, raw=raw).code == "malformed_json"


def test_a_thousand_jobs_fit(core: CoreProcess) -> None:
    answer = submit(core, *[GOOD] * 1000)
    assert answer.status == 202
    assert len({item["job"]["id"] for item in answer.json["items"]}) == 1000


def test_each_key_makes_one_job_within_a_batch_and_across(core: CoreProcess) -> None:
    keyed = {**GOOD, "idempotency_key": "batch-key-1"}
    first = submit(core, keyed, keyed, {**keyed, "priority": 5}).json["items"]
    assert [item["created"] for item in first] == [True, False, False]
    assert first[0]["job"]["id"] == first[1]["job"]["id"]
    assert first[2]["problem"]["code"] == "idempotency_mismatch"
    again = submit(core, keyed).json["items"][0]
    assert (again["job"]["id"], again["created"]) == (first[0]["job"]["id"], False)
    single = core.api("POST", "/jobs", GOOD, headers={"Idempotency-Key": "batch-key-1"})
    assert single.json["id"] == first[0]["job"]["id"]


@pytest.mark.usefixtures("answering")
def test_a_repeated_batch_waits_for_the_jobs_of_the_first(core: CoreProcess) -> None:
    keyed = [{**GOOD, "idempotency_key": f"again-{n}"} for n in range(20)]
    made = submit(core, *keyed).json["items"]
    again = submit(core, *keyed, GOOD, wait_s=30)
    assert again.status == 200
    ended = again.json["items"]
    assert [item["job"]["id"] for item in ended[:-1]] == [item["job"]["id"] for item in made]
    assert {item["job"]["state"] for item in ended} == {"succeeded"}


def test_waiting_for_a_batch_ends_with_the_time(core: CoreProcess) -> None:
    answer = submit(core, GOOD, {**GOOD, "capability": "none"}, wait_s=1)
    assert answer.status == 202
    assert answer.json["items"][0]["job"]["state"] == "queued"


def audited(core: CoreProcess) -> list[str]:
    """The subject of every record in the audit log, oldest first."""
    subjects: list[str] = []
    while True:
        page = core.administer("audit", "list", "--json", "--limit", "1000", "--after", str(len(subjects)))
        assert page.returncode == 0, page.stderr
        items = json.loads(page.stdout)["items"]
        if not items:
            return subjects
        subjects += [item["subject"] for item in items]


def test_every_job_of_a_batch_is_in_the_audit_log(core: CoreProcess) -> None:
    items = submit(core, GOOD, {}, GOOD).json["items"]
    made = [item["job"]["id"] for item in items if item["job"]]
    assert audited(core)[-2:] == made
    assert core.administer("audit", "verify").returncode == 0


@pytest.fixture
def aisops(core: CoreProcess) -> Any:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "AISOPS_URL": core.http_url,
            "AISOPS_TOKEN_FILE": str(core.home / "admin-token"),
        }
        command = [str(BIN / "aisops"), "job", "submit", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.mark.usefixtures("answering")
def test_the_command_submits_a_file_and_tells_the_end_by_exit_code(aisops: Any, home: Path) -> None:
    (home / "good.jsonl").write_text("".join(json.dumps(GOOD) + "\n" for _ in range(1500)) + "\n")
    good = aisops("--batch", str(home / "good.jsonl"), "--wait", "--json")
    assert good.returncode == 0, good.stderr
    items = json.loads(good.stdout)["items"]
    assert [item["line"] for item in items] == list(range(1, 1501))
    assert {item["job"]["state"] for item in items} == {"succeeded"}
    (home / "mixed.jsonl").write_text(json.dumps(GOOD) + "\n\n" + json.dumps({**GOOD, "input": {}}) + "\n")
    mixed = aisops("--batch", str(home / "mixed.jsonl"), "--wait")
    assert mixed.returncode == 1
    rows = [line.split(maxsplit=3) for line in mixed.stdout.splitlines()]
    assert rows[0][:3] == ["LINE", "ID", "STATE"]
    assert (rows[1][0], rows[1][2]) == ("1", "succeeded")
    assert rows[2][:3] == ["3", "-", "refused"]
    assert "[input_invalid]" in rows[2][3]


def test_the_command_with_the_same_key_makes_no_second_jobs(aisops: Any, home: Path) -> None:
    (home / "jobs.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD) + "\n")
    words = ("--batch", str(home / "jobs.jsonl"), "--idempotency-key", "file-1", "-q")
    first, again = aisops(*words), aisops(*words)
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert len(set(first.stdout.splitlines())) == 2


def test_the_command_that_gets_half_way_says_how_to_go_on_without_second_jobs(aisops: Any, home: Path) -> None:
    """The second request is refused whole, for its size: the jobs of the first are there."""
    large = {**GOOD, "input": {"text": "x" * (17 * 1024 * 1024)}}
    (home / "jobs.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps(large) + "\n")
    done = aisops("--batch", str(home / "jobs.jsonl"))
    assert done.returncode == 1
    assert "[body_too_large]" in done.stderr
    assert "--idempotency-key " in done.stderr
    as_json = aisops("--batch", str(home / "jobs.jsonl"), "--json", "--idempotency-key", "half")
    assert "--idempotency-key half" in json.loads(as_json.stderr)["advice"]


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("", [], "holds no job"),
        ("[1]\n", [], "Line 1 is not a JSON object"),
        ('{"capability":"test.echo","input":{}}\nnope\n', [], "Line 2 is not JSON"),
        ('{"capability":"test.echo","input":{"text":NaN}}', [], "Line 1 is not JSON: NaN"),
        ('{"capability":"test.echo","input":{"text":"\\ud800"}}', [], "Line 1 is not JSON: a text holds half"),
        ("{}\n" + "[" * 100_000, [], "Line 2 is not JSON: it is nested deeper"),
        ("{}", ["test.echo"], "With --batch"),
        ("{}", ["--label", "a=b"], "With --batch"),
        (None, [], "Cannot read"),
    ],
)
def test_a_file_that_is_no_batch_is_a_usage_error(
    aisops: Any, home: Path, text: str | None, words: list[str], said: str
) -> None:
    if text is not None:
        (home / "jobs.jsonl").write_text(text)
    done = aisops("--batch", str(home / "jobs.jsonl"), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
