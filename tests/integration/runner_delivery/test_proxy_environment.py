"""The real program behind a proxy named in the environment: gRPC ignores the upper-case name, the Runner does not."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
async def test_the_proxy_of_the_environment_is_asked_for_a_way_to_core(tmp_path: Path, name: str):
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        if not heard.done():
            heard.set_result(head)

    proxy = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    runner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "aisops_runner",
        "run",
        env={
            **kept,
            "CORE_GRPC_ENDPOINT": "core.invalid:443",
            "CORE_RUNNER_AUTH_TOKEN": "aisops_run_test_secretsecret",
            "AISOPS_RUNNER_DATA_DIR": str(tmp_path / "data"),
            "AISOPS_RUNNER_LOG_FORMAT": "json",
            name: f"http://ops:hunter2@127.0.0.1:{port}",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        head = await asyncio.wait_for(heard, 30)
    finally:
        runner.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(runner.communicate(), 30)
        proxy.close()
        await proxy.wait_closed()

    lines = head.decode().split("\r\n")
    assert lines[0] == "CONNECT core.invalid:443 HTTP/1.1"
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'ops:hunter2').decode()}" in lines
    assert runner.returncode == 0
    assert b"hunter2" not in log
