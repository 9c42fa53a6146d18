"""Callers that go away, and credentials that are withdrawn, while Core is busy with them."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.core_process import BIN, running_core, until
from tests.support.raw_runner import RawRunner

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 400\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\nZZ\r\n",
    ],
)
def test_a_body_that_never_ends_is_no_fault_of_core(tmp_path: Path, body: bytes) -> None:
    with running_core(tmp_path) as core:
        address = urlsplit(core.http_url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {core.admin_token}\r\n"
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n" + body)
            until(lambda: core.request("GET", "/healthz").status == 200, "Core answering others")
    assert "Traceback" not in core.log


def test_a_token_revoked_by_the_command_ends_the_open_stream_within_seconds(tmp_path: Path) -> None:
    with running_core(tmp_path) as core:
        token = core.create_runner("runner-1")
        with RawRunner(core.grpc_port, token) as runner:
            runner.greet()
            token_id = token.split("_")[2]
            revoke = [str(BIN / "aisops-core"), "token", "revoke", token_id, "--data", str(core.data)]
            subprocess.run(revoke, check=True, capture_output=True)
            begun = time.monotonic()
            ended, _ = runner.end()
            assert ended.reason in {"UNAUTHENTICATED", "REVOKED"}
            assert time.monotonic() - begun < 5
