"""A connection that stays open is served by the direct lane, one that closes by aiohttp: both must answer alike."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.core_doors.test_http import BAD_JOBS, BODIES, GOOD, MALFORMED, routes
from tests.support.core_process import BIN, CoreProcess, Response, running_core, until
from tests.support.raw_runner import RawRunner

pytestmark = pytest.mark.integration

OWN = {"Date", "X-Trace-Id", "Connection"}


class Kept:
    """One connection kept open, as programs do."""

    def __init__(self, core: CoreProcess) -> None:
        address = urlsplit(core.http_url)
        self.http = http.client.HTTPConnection(address.hostname or "", address.port, timeout=70)
        self.http.connect()
        self.token = core.admin_token

    def request(self, method: str, path: str, raw: bytes | None = None, **headers: str) -> Response:
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        self.http.request(method, path, raw, sent)
        answer = self.http.getresponse()
        return Response(answer.status, answer.headers, answer.read())


@pytest.fixture
def kept(core: CoreProcess) -> Iterator[Kept]:
    connection = Kept(core)
    yield connection
    connection.http.close()


def alike(one: Response, other: Response) -> None:
    """The same answer, but for what belongs to one request alone."""
    assert one.status == other.status
    assert {k: v for k, v in one.headers.items() if k not in OWN} == {
        k: v for k, v in other.headers.items() if k not in OWN
    }
    mine, theirs = one.json, other.json
    for document in (mine, theirs):
        document.pop("trace_id", None)
    assert mine == theirs


BAD = [json.dumps(case[1]).encode() for case in BAD_JOBS] + MALFORMED


@pytest.mark.parametrize("raw", BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_refused_alike(core: CoreProcess, kept: Kept, raw: bytes) -> None:
    alike(kept.request("POST", "/api/v1/jobs", raw), core.api("POST", "/jobs", raw=raw))
    alike(kept.request("POST", "/api/v1/jobs/batch", raw), core.api("POST", "/jobs/batch", raw=raw))


@pytest.mark.parametrize(
    "headers",
    [
        {"Idempotency-Key": "a b"},
        {"Idempotency-Key": "k" * 256},
        {"Prefer": "x" * 257},
        {"Authorization": "Basic x"},
        {"Authorization": "Bearer nonsense"},
        {"Content-Type": "text/plain"},
    ],
)
def test_wrong_headers_are_refused_alike(core: CoreProcess, kept: Kept, headers: dict[str, str]) -> None:
    body = json.dumps(GOOD).encode()
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {core.admin_token}", **headers}
    alike(
        kept.request("POST", "/api/v1/jobs", body, **headers),
        core.request("POST", "/api/v1/jobs", raw=body, headers=sent),
    )


def test_every_address_answers_alike(core: CoreProcess, kept: Kept) -> None:
    job = core.api("POST", "/jobs", {**GOOD, "labels": {"nowhere": "x"}}).json["id"]
    for method, path in routes(core):
        if method != "GET":
            continue
        for name in (job, "none", "a%20b", "..", "a" * 129):
            address = path.replace("{job_id}", name).replace("{runner_id}", "runner-1")
            alike(kept.request("GET", address), core.request("GET", address, token=core.admin_token))
    for query in ("limit=1", "limit=0", "limit=1&limit=2", "x=1", "limit=%31", "limit=+1", "state=queued&limit=2"):
        alike(kept.request("GET", f"/api/v1/jobs?{query}"), core.api("GET", f"/jobs?{query}"))


def test_the_wrong_method_and_role_are_refused_alike(core: CoreProcess, kept: Kept, tokens: dict[str, str]) -> None:
    alike(kept.request("DELETE", "/api/v1/jobs"), core.api("DELETE", "/jobs"))
    kept.token = tokens["viewer"]
    for method, path in routes(core):
        if method == "POST":
            address = path.replace("{job_id}", "x").replace("{runner_id}", "runner-1")
            raw = json.dumps(BODIES.get((method, path), dict)()).encode()
            alike(
                kept.request("POST", address, raw),
                core.request("POST", address, token=kept.token, raw=raw),
            )


def test_one_connection_serves_plain_and_odd_requests_in_turn(core: CoreProcess, kept: Kept) -> None:
    body = json.dumps(GOOD).encode()
    for _ in range(3):
        assert kept.request("POST", "/api/v1/jobs", body).status == 202
    assert kept.request("GET", "/healthz").json == {"status": "ok"}
    assert kept.request("POST", "/api/v1/jobs", body, **{"Transfer-Encoding": "x"}).status == 400


def test_a_large_batch_arrives_whole(core: CoreProcess, kept: Kept) -> None:
    kept.request("GET", "/api/v1/whoami")
    body = json.dumps({"jobs": [{**GOOD, "input": {"text": "x" * 4000}, "labels": {"nowhere": "x"}}] * 900}).encode()
    answer = kept.request("POST", "/api/v1/jobs/batch", body)
    assert [item["job"]["input"]["text"] for item in answer.json["items"]] == ["x" * 4000] * 900


def test_requests_sent_ahead_are_answered_in_order(core: CoreProcess) -> None:
    address = urlsplit(core.http_url)
    body = json.dumps({**GOOD, "labels": {"nowhere": "x"}}).encode()
    head = f"Host: x\r\nAuthorization: Bearer {core.admin_token}\r\n"
    post = f"POST /api/v1/jobs HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    sent = (post.encode() + body) * 5 + f"GET /healthz HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode()
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 202 ") == 5
    assert answer.endswith(b'{"status":"ok"}')


def test_a_revoked_token_is_refused_on_an_open_connection_within_two_seconds(tmp_path: Path) -> None:
    with running_core(tmp_path) as core:
        kept = Kept(core)
        kept.token = core.create_token("leaver", "viewer")
        assert kept.request("GET", "/api/v1/whoami").status == 200
        token_id = kept.token.split("_")[2]
        revoke = [str(BIN / "aisops-core"), "token", "revoke", token_id, "--data", str(core.data)]
        subprocess.run(revoke, check=True, capture_output=True)
        until(lambda: kept.request("GET", "/api/v1/whoami").status == 401, "the token being refused", 2.5)
        kept.http.close()


def test_a_waiting_caller_is_answered_when_core_stops(tmp_path: Path) -> None:
    with running_core(tmp_path) as core, ThreadPoolExecutor(1) as threads:
        with RawRunner(core.grpc_port, core.create_runner("runner-1")) as runner:
            runner.greet()
        kept = Kept(core)
        body = json.dumps({**GOOD, "labels": {"nowhere": "x"}}).encode()
        waiting = threads.submit(kept.request, "POST", "/api/v1/jobs", body, Prefer="wait=60")
        until(lambda: core.api("GET", "/jobs").json["items"], "the job being stored")
        assert core.stop() == 0
        assert waiting.result(20).json["state"] == "queued"
        kept.http.close()


@pytest.mark.parametrize("requests", [1, 3])
def test_a_caller_that_says_no_more_but_listens_is_answered(core: CoreProcess, requests: int) -> None:
    """It shuts its side after the request, as `nc -N` does: FIN comes while the operation is under way, or with it."""
    host, _, port = core.http_url.removeprefix("http://").partition(":")
    ask = f"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {core.admin_token}\r\n\r\n".encode()
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(ask * requests)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == requests


def test_a_caller_that_says_no_more_in_the_middle_of_a_request_ends_its_connection(core: CoreProcess) -> None:
    host, _, port = core.http_url.removeprefix("http://").partition(":")
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {core.admin_token}\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{".encode())
        connection.shutdown(socket.SHUT_WR)
        assert b"200 OK" not in b"".join(iter(lambda: connection.recv(65536), b""))
