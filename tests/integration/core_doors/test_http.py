"""The HTTP API from outside: what is good works, what is bad gets a code, and then nothing is stored."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from aisops_core.identity.tokens import mint
from tests.support.core_process import CoreProcess

pytestmark = pytest.mark.integration

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"
GOOD = {"capability": "test.echo", "input": {"text": "hello"}}


@pytest.fixture
def nothing_stored(core: CoreProcess) -> Any:
    """Checks at the end that the test left no job and no Runner behind."""

    def count() -> tuple[int, int]:
        jobs = core.api("GET", "/jobs?limit=200").json["items"]
        return len(jobs), len(core.api("GET", "/runners").json["items"])

    before = count()
    yield
    assert count() == before


BAD_JOBS: list[tuple[str, Any, int, str]] = [
    ("unknown capability", {**GOOD, "capability": "test.unknown"}, 422, "unknown_capability"),
    ("input breaks the schema", {**GOOD, "input": {"text": 5}}, 422, "input_invalid"),
    ("unknown key in the input", {**GOOD, "input": {"text": "x", "y": 1}}, 422, "input_invalid"),
    ("no input", {"capability": "test.echo"}, 422, "invalid_request"),
    ("unknown key", {**GOOD, "extra": 1}, 422, "invalid_request"),
    ("not an object", [1], 422, "invalid_request"),
    ("bad label", {**GOOD, "labels": {"a": 1}}, 422, "invalid_request"),
    ("oversized input", {**GOOD, "input": {"text": "x" * 1_048_576}}, 413, "input_too_large"),
    ("oversized body", {**GOOD, "input": {"text": "x" * 1_200_000}}, 413, "body_too_large"),
]


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(("body", "status", "code"), [case[1:] for case in BAD_JOBS], ids=[c[0] for c in BAD_JOBS])
def test_a_bad_job_is_refused_with_a_code(core: CoreProcess, body: Any, status: int, code: str) -> None:
    answer = core.api("POST", "/jobs", body)
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["trace_id"]


def test_schema_errors_name_the_place_and_never_the_value(core: CoreProcess) -> None:
    answer = core.api("POST", "/jobs", {**GOOD, "input": {"text": {"s3cret": 1}}})
    assert answer.json["errors"][0]["pointer"] == "/input/text"
    assert b"s3cret" not in answer.body


def test_an_unknown_capability_is_answered_with_the_known_ones(core: CoreProcess) -> None:
    answer = core.api("POST", "/jobs", {**GOOD, "capability": "test.ecko"})
    assert "test.echo" in answer.json["advice"]


MALFORMED = [
    b"", b"{", b"\xff", b'{"capability":"test.echo","input":NaN}', b'{"capability":"a","capability":"b","input":{}}',
    b"[" * 100_000, b'{"input":' + b"[" * 65 + b"]" * 65 + b"}", b'{"input":' + b"1" * 5000 + b"}", b'{"input":1e999}',
    b'{"capability":"test.echo","input":{"text":"\\ud800"}}', b"\xef\xbb\xbf{}",
]  # fmt: skip


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize("raw", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_json_is_refused(core: CoreProcess, raw: bytes) -> None:
    answer = core.api("POST", "/jobs", raw=raw)
    assert (answer.status, answer.code) == (400, "malformed_json")


def test_the_http_layers_own_errors_are_problem_documents_too(core: CoreProcess) -> None:
    assert core.request("GET", "/nowhere").code == "no_such_address"
    wrong = core.api("DELETE", "/jobs")
    assert (wrong.status, wrong.code) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "GET,POST"
    form = core.api("POST", "/jobs", raw=b"{}", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (form.status, form.code) == (415, "unsupported_media_type")
    packed = core.api("POST", "/jobs", raw=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (packed.status, packed.code) == (415, "unsupported_encoding")
    assert "Traceback" not in core.log
    assert core.api("GET", "/jobs?limit=1&limit=2").code == "repeated_parameter"
    assert core.api("GET", "/jobs?limit=0").code == "invalid_request"
    assert core.api("GET", "/jobs?cursor=AAAA").code == "invalid_cursor"
    assert core.api("GET", "/jobs/a%20b").code == "not_found"
    assert core.api("GET", "/jobs/none").code == "job_not_found"
    assert core.api("GET", "/runners/none").code == "runner_not_found"
    assert core.api("POST", "/jobs", GOOD, headers={"Idempotency-Key": "a b"}).code == "invalid_header"


def test_every_answer_carries_the_security_headers(core: CoreProcess) -> None:
    for answer in (core.api("GET", "/jobs"), core.request("GET", "/nowhere"), core.request("GET", "/api/v1/jobs")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Server"] == "aisops-core"
        assert answer.headers["X-Trace-Id"]


def test_a_job_is_taken_shown_listed_and_cancelled(core: CoreProcess) -> None:
    made = core.api("POST", "/jobs", {**GOOD, "labels": {"site": "nowhere"}, "priority": 3})
    assert made.status == 202
    job = made.json
    assert made.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["state"], job["input"], job["attempt"], job["effect_class"]) == (
        "queued", {"text": "hello"}, 1, "idempotent"
    )  # fmt: skip
    shown = core.api("GET", f"/jobs/{job['id']}").json
    assert shown == job
    listed = core.api("GET", "/jobs?state=queued&capability=test.echo&limit=1").json["items"][0]
    assert (listed["id"], listed["input"]) == (job["id"], None)
    cancelled = core.api("POST", f"/jobs/{job['id']}/cancel")
    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
    kinds = [entry["kind"] for entry in core.api("GET", f"/jobs/{job['id']}/timeline").json["items"]]
    assert kinds[-1] == "cancelled"
    assert core.api("GET", f"/jobs/{job['id']}/logs").json == {"items": [], "next_cursor": None}


def test_pages_follow_one_another_without_gap_or_repetition(core: CoreProcess) -> None:
    made = [core.api("POST", "/jobs", {**GOOD, "labels": {"page": "x"}}).json["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while len(seen) < 5:
        page = core.api("GET", f"/jobs?limit=2{cursor}").json
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert seen[:5] == made[::-1]


def test_the_same_idempotency_key_makes_one_job(core: CoreProcess) -> None:
    headers = {"Idempotency-Key": "key-1"}
    first = core.api("POST", "/jobs", GOOD, headers=headers)
    again = core.api("POST", "/jobs", GOOD, headers=headers)
    assert first.json["id"] == again.json["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = core.api("POST", "/jobs", {**GOOD, "priority": 1}, headers=headers)
    assert (other.status, other.code) == (422, "idempotency_mismatch")


def test_waiting_ends_with_the_time(core: CoreProcess) -> None:
    made = core.api("POST", "/jobs", GOOD, headers={"Prefer": "wait=1"})
    assert (made.status, made.headers["Preference-Applied"]) == (202, "wait=1")
    assert core.api("GET", f"/jobs/{made.json['id']}?wait=1").json["state"] == "queued"


def test_health_readiness_metrics_and_openapi_need_no_token(core: CoreProcess) -> None:
    assert core.request("GET", "/healthz").json == {"status": "ok"}
    ready = core.request("GET", "/readyz").json
    assert ready == {"status": "ready", "checks": {"store": "ok", "rpc": "ok"}}
    metrics = core.request("GET", "/metrics").body.decode()
    assert 'aisops_core_http_requests_total{method="GET",route="/readyz",status="200"}' in metrics
    assert "aisops_core_runner_streams_begun_total " in metrics
    assert "aisops_core_jobs_queued " in metrics
    assert not re.search(r"(?m)^aisops_core_\w*\{.*(job|runner)_id=", metrics), "ids are no labels"
    assert core.request("GET", "/api/v1/openapi.json").json["openapi"] == "3.1.0"


def test_the_operations_page_names_every_metric_and_no_other(core: CoreProcess) -> None:
    metrics = core.request("GET", "/metrics").body.decode()
    families = set(re.findall(r"(?m)^# TYPE (aisops_core_\w+) ", metrics))
    served = {name for name in families if not name.endswith("_created")}  # the library's own companion of a counter
    section = OPERATIONS.read_text().split("### Metrics")[1].split("### What to watch")[0]
    assert set(re.findall(r"`(aisops_core_\w+)`", section)) == served


def routes(core: CoreProcess) -> list[tuple[str, str]]:
    paths = core.request("GET", "/api/v1/openapi.json").json["paths"]
    return [(method.upper(), path) for path, entry in paths.items() for method in entry]


BODIES: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {
    ("POST", "/api/v1/jobs"): lambda: GOOD,
    ("POST", "/api/v1/jobs/batch"): lambda: {"jobs": [GOOD]},
    ("POST", "/api/v1/runners"): lambda: {"runner_id": "runner-9"},
    ("POST", "/api/v1/jobs/{job_id}/resolve"): lambda: {"as": "failed", "note": "x"},
}


@pytest.mark.usefixtures("nothing_stored")
def test_every_route_refuses_callers_without_a_valid_token(core: CoreProcess, runner_token: str) -> None:
    damaged = core.admin_token[:-20] + "A" * 20
    unknown = mint("api", secrets.token_bytes).text()
    for method, path in routes(core):
        body = BODIES.get((method, path), dict)() if method == "POST" else None
        address = path.replace("{job_id}", "x").replace("{runner_id}", "runner-1")
        for token in (None, "nonsense", damaged, unknown, runner_token):
            answer = core.request(method, address, body, token)
            assert (answer.status, answer.code) == (401, "unauthenticated"), (method, path)
            assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.usefixtures("nothing_stored")
def test_every_route_that_changes_something_refuses_a_viewer(core: CoreProcess, tokens: dict[str, str]) -> None:
    for method, path in routes(core):
        address = path.replace("{job_id}", "x").replace("{runner_id}", "runner-1")
        body = BODIES.get((method, path), dict)() if method == "POST" else None
        answer = core.request(method, address, body, tokens["viewer"])
        if method == "GET":
            assert answer.status in {200, 404}, (method, path)
        else:
            assert (answer.status, answer.code) == (403, "forbidden"), (method, path)
    refused = core.request("POST", "/api/v1/runners", {"runner_id": "r"}, tokens["operator"])
    assert refused.code == "forbidden"


def test_another_tenant_sees_and_changes_nothing(core: CoreProcess, tokens: dict[str, str]) -> None:
    job = core.api("POST", "/jobs", GOOD).json["id"]
    stranger = tokens["stranger"]
    for method, path in routes(core):
        if "{" in path:
            address = path.replace("{job_id}", job).replace("{runner_id}", "runner-1")
            body = BODIES.get((method, path), dict)() if method == "POST" else None
            answer = core.request(method, address, body, stranger)
            assert answer.status == 404, (method, path)
        elif method == "GET" and not path.endswith("whoami"):
            assert core.request(method, path, token=stranger).json["items"] == []
    refused = core.request("POST", "/api/v1/jobs", GOOD, stranger)
    assert refused.code == "unknown_capability"
    assert "test.echo" not in refused.json["advice"]
    assert core.api("GET", f"/jobs/{job}").json["state"] == "queued"


def test_a_runner_is_created_once(core: CoreProcess) -> None:
    made = core.api("POST", "/runners", {"runner_id": "runner-2", "labels": {"site": "a"}})
    assert made.status == 201
    assert made.json["token"].startswith("aisops_run_")
    assert made.json["runner"]["labels"] == {"site": "a"}
    again = core.api("POST", "/runners", {"runner_id": "runner-2"})
    assert (again.status, again.code) == (409, "already_exists")
    further = core.api("POST", "/runners/runner-2/tokens")
    assert further.json["token"] != made.json["token"]


def test_hostile_http_does_not_disturb_core(core: CoreProcess) -> None:
    address = urlsplit(core.http_url).netloc
    for path, headers in (("/" + "a" * 9000, {}), ("/", {"X": "a" * 9000}), ("/api/v1/jobs", {"Content-Length": "-1"})):
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", path, headers=headers)
        assert 400 <= connection.getresponse().status < 500
        connection.close()
    assert core.request("GET", "/readyz").status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE s3cret\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header s3cret\r\n\r\n",
        b"GET /s3cret" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"POST /s3cret HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_what_is_not_http_gets_a_problem_document_that_repeats_nothing(core: CoreProcess, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(core.http_url).port or 0), timeout=10) as connection:
        connection.sendall(raw)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 400 " in head
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "malformed_request"
    assert b"s3cret" not in answer
    assert "s3cret" not in core.log


def test_no_token_reaches_the_log(core: CoreProcess, tokens: dict[str, str]) -> None:
    for token in tokens.values():
        assert token.split("_", 3)[3] not in core.log
    for line in core.log.splitlines():
        if line.startswith("{"):
            json.loads(line)
