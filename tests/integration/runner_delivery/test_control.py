"""The Runner's local door."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aisops_runner.control.address import SOCKET_NAME
from aisops_runner.control.client import RunnerNotRunning, ask, tell
from aisops_runner.control.server import ControlServer
from aisops_runner.errors import RunnerError, StorageFailed

pytestmark = pytest.mark.integration


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Path]:
    async def status() -> dict[str, object]:
        return {"runner_id": "runner-1"}

    async def broken() -> dict[str, object]:
        raise StorageFailed("the disk is gone")

    async def reload() -> dict[str, object]:
        return {"changed": ["acme"]}

    server = ControlServer(tmp_path, {"status": status, "broken": broken}, {"reload": reload})
    await server.start()
    yield tmp_path
    await server.stop()


async def test_a_question_is_answered(door: Path):
    assert await asyncio.to_thread(ask, door, "status") == {"runner_id": "runner-1"}


async def test_a_wish_is_done_and_no_question_does_anything(door: Path):
    assert await asyncio.to_thread(tell, door, "reload") == {"changed": ["acme"]}
    for refused in ((ask, "reload"), (tell, "status")):
        with pytest.raises(RunnerError) as caught:
            await asyncio.to_thread(refused[0], door, refused[1])
        assert caught.value.code == "unknown_question"


async def test_the_socket_is_private(door: Path):
    assert stat.S_IMODE((door / SOCKET_NAME).stat().st_mode) == 0o600


async def test_an_unknown_question_names_the_known_ones(door: Path):
    with pytest.raises(RunnerError, match="status") as refused:
        await asyncio.to_thread(ask, door, "nonsense")
    assert refused.value.code == "unknown_question"


async def test_an_error_is_told_with_its_code(door: Path):
    with pytest.raises(RunnerError, match="disk is gone") as refused:
        await asyncio.to_thread(ask, door, "broken")
    assert refused.value.code == "storage_failed"


@pytest.mark.parametrize(
    "line", [b"not json\n", b"[1]\n", b'{"get": 5}\n', b'{"get": ["status"]}\n', b"[" * 5000 + b"\n"]
)
async def test_nonsense_is_answered_and_the_door_stays_open(door: Path, line: bytes):
    reader, writer = await asyncio.open_unix_connection(str(door / SOCKET_NAME))
    writer.write(line)
    assert json.loads(await reader.readline())["ok"] is False
    writer.write(b'{"get":"status"}\n')
    assert json.loads(await reader.readline())["ok"] is True
    writer.close()
    await writer.wait_closed()


async def test_a_line_without_end_closes_the_connection_only(door: Path):
    reader, writer = await asyncio.open_unix_connection(str(door / SOCKET_NAME))
    writer.write(b"x" * 200_000)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()

    assert await asyncio.to_thread(ask, door, "status") == {"runner_id": "runner-1"}


async def test_without_a_runner_the_client_says_so(tmp_path: Path):
    with pytest.raises(RunnerNotRunning, match="aisops-runner run"):
        await asyncio.to_thread(ask, tmp_path, "status")


async def test_a_dead_socket_is_replaced(tmp_path: Path):
    (tmp_path / SOCKET_NAME).touch()
    server = ControlServer(tmp_path, {})
    await server.start()
    await server.stop()

    assert not (tmp_path / SOCKET_NAME).exists()
