"""A private world is private and leaves nothing behind; the wire's faults reach exactly the packets they name."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.chaos.injection.private_world import in_private_world, mount_small_disk, run
from tests.chaos.injection.wire import BOTH, Way, Wire

MISSING = [tool for tool in ("ip", "nft", "tc", "mount") if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces takes root"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
PATIENCE_S = 20.0
SILENCE_S = 0.5


class Line:
    """An established connection to a server in the same world."""

    def __init__(self, port: int, near: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.port, (self.reader, self.writer) = port, near
        self.far: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def up(self, data: bytes) -> bytes:
        assert self.far is not None
        self.writer.write(data)
        return await self.far[0].readexactly(len(data))

    async def down(self, data: bytes) -> bytes:
        assert self.far is not None
        self.far[1].write(data)
        return await self.reader.readexactly(len(data))


async def on_a_line(work: Callable[[Line], Awaitable[None]]) -> None:
    """In a private world, with one connection open."""

    async def inside() -> None:
        accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        server = await asyncio.start_server(lambda *far: accepted.put(far), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        line = Line(port, await asyncio.open_connection("127.0.0.1", port))
        line.far = await accepted.get()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await work(line)
        finally:
            line.writer.close()
            line.far[1].close()
            server.close()

    await in_private_world(inside)


async def silent(waiting: Awaitable[bytes]) -> bool:
    try:
        async with asyncio.timeout(SILENCE_S):
            await waiting
    except TimeoutError:
        return True
    return False


async def test_a_world_has_no_way_out_and_ends_with_its_work(tmp_path: Path) -> None:
    disk = tmp_path / "disk"

    async def inside() -> tuple[str, int]:
        mount_small_disk(disk, 1024 * 1024)
        (disk / "file").write_bytes(b"x")
        with pytest.raises(OSError, match="No space left"):
            (disk / "big").write_bytes(bytes(2 * 1024 * 1024))
        return run("ip", "-brief", "link"), os.statvfs(disk).f_blocks

    links, blocks = await in_private_world(inside)
    assert [line.split()[0] for line in links.splitlines()] == ["lo"]
    assert blocks * os.statvfs("/dev/shm").f_frsize <= 1024 * 1024
    assert not (disk / "file").exists()
    assert str(disk) not in await asyncio.to_thread(Path("/proc/self/mounts").read_text)


async def test_what_fails_inside_is_raised_outside() -> None:
    async def inside() -> None:
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        await in_private_world(inside)


async def test_cancelling_reaches_into_the_world() -> None:
    begun, ended = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    async def inside() -> None:
        try:
            loop.call_soon_threadsafe(begun.set)
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = asyncio.create_task(in_private_world(inside))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


@pytest.mark.parametrize("way", list(Way))
async def test_a_drop_is_silent_one_way_and_what_was_sent_arrives_after_it(way: Way) -> None:
    async def work(line: Line) -> None:
        wire = Wire(line.port)
        wire.drop(way)
        dropped, other = (line.up, line.down) if way is Way.UP else (line.down, line.up)
        # A dropped way also swallows the acknowledgements of the other, whose data arrives nevertheless.
        assert await other(b"passes") == b"passes"
        waiting = asyncio.ensure_future(dropped(b"later"))
        assert await silent(asyncio.shield(waiting))
        assert wire.swallowed() > 0
        wire.heal()
        assert await waiting == b"later"

    await on_a_line(work)


async def test_loss_takes_its_share_and_the_stream_stays_whole() -> None:
    async def work(line: Line) -> None:
        wire = Wire(line.port)
        wire.lose(20)
        for number in range(60):
            assert await line.up(b"%06d" % number) == b"%06d" % number
        assert wire.swallowed() > 5
        wire.heal()

    await on_a_line(work)


async def test_a_reset_ends_the_connection_on_both_sides() -> None:
    async def work(line: Line) -> None:
        wire = Wire(line.port)
        wire.reset()
        line.writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await line.reader.readexactly(1)
        wire.heal()

    await on_a_line(work)


async def test_a_narrow_line_takes_its_time_and_others_do_not() -> None:
    async def work(line: Line) -> None:
        wire = Wire(line.port)
        wire.narrow("256kbit")
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert len(await line.up(bytes(40_000))) == 40_000
        assert loop.time() - began > 0.8
        wire.heal()
        began = loop.time()
        assert len(await line.up(bytes(400_000))) == 400_000
        assert loop.time() - began < 0.8

    await on_a_line(work)


async def test_healing_what_is_whole_is_harmless() -> None:
    async def work(line: Line) -> None:
        Wire(line.port).heal()
        Wire(line.port).drop(*BOTH)
        Wire(line.port).heal()
        assert await line.up(b"x") == b"x"

    await on_a_line(work)
