"""The chaos proxy really does what it says, and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tests.chaos.injection.proxy import ChaosProxy
from tests.chaos.injection.wire import Way

pytestmark = pytest.mark.chaos
PATIENCE_S = 20.0


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A port that sends back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def dial(proxy: ChaosProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def there_and_back(proxy: ChaosProxy, data: bytes) -> bytes:
    reader, writer = await dial(proxy)
    writer.write(data)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.readexactly(len(data))
    writer.close()
    return answer


async def test_without_a_fault_every_octet_passes_and_ends_reach_the_other_side(echo: int) -> None:
    data = random.Random(1).randbytes(3_000_000)
    async with ChaosProxy(echo) as proxy:
        reader, writer = await dial(proxy)

        async def send() -> None:
            writer.write(data)
            await writer.drain()
            writer.write_eof()

        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            group.create_task(send())
            received = group.create_task(reader.read(-1))
        assert received.result() == data
        writer.close()


async def test_latency_delays_each_way(echo: int) -> None:
    async with ChaosProxy(echo) as proxy:
        proxy.latency_s = 0.15
        began = asyncio.get_running_loop().time()
        assert await there_and_back(proxy, b"slow") == b"slow"
        assert asyncio.get_running_loop().time() - began >= 0.3


async def test_a_narrow_way_passes_no_more_than_its_rate(echo: int) -> None:
    async with ChaosProxy(echo) as proxy:
        proxy.bytes_per_s = 20_000
        began = asyncio.get_running_loop().time()
        assert len(await there_and_back(proxy, bytes(10_000))) == 10_000
        assert asyncio.get_running_loop().time() - began >= 0.45


@pytest.mark.parametrize("way", list(Way))
async def test_what_is_held_back_arrives_whole_once_released(echo: int, way: Way) -> None:
    async with ChaosProxy(echo) as proxy:
        reader, writer = await dial(proxy)
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        proxy.hold(way)
        writer.write(b"during")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.readexactly(6)
        proxy.release()
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.readexactly(6) == b"during"
        writer.close()


async def test_cut_resets_every_connection_and_new_ones_work(echo: int) -> None:
    async with ChaosProxy(echo) as proxy:
        links = [await dial(proxy) for _ in range(3)]
        for reader, writer in links:
            writer.write(b"x")
            await reader.readexactly(1)
        assert await proxy.cut() == 3
        for reader, writer in links:
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(PATIENCE_S):
                    await reader.read(1)
            writer.close()
        assert await there_and_back(proxy, b"again") == b"again"


async def test_cut_in_order_is_an_end_of_file(echo: int) -> None:
    async with ChaosProxy(echo) as proxy:
        reader, writer = await dial(proxy)
        writer.write(b"x")
        await reader.readexactly(1)
        await proxy.cut(reset=False)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
        writer.close()


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not(echo: int) -> None:
    async with ChaosProxy(echo) as proxy:
        proxy.idle_cut_s = 0.4
        idle_reader, idle_writer = await dial(proxy)
        reader, writer = await dial(proxy)

        async def talk() -> None:
            while not proxy.idle_cuts:
                writer.write(b"x")
                await reader.readexactly(1)
                await asyncio.sleep(0.05)

        async with asyncio.timeout(PATIENCE_S):
            await talk()
            with pytest.raises(ConnectionResetError):
                await idle_reader.read(1)
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        assert proxy.idle_cuts == 1
        for one in (idle_writer, writer):
            one.close()


async def test_corruption_changes_octets_and_not_their_number(echo: int) -> None:
    async with ChaosProxy(echo, random.Random(7)) as proxy:
        proxy.corrupt = 1.0
        sent = bytes(1000)
        received = await there_and_back(proxy, sent)
        assert len(received) == len(sent)
        assert received != sent


async def test_a_refusing_proxy_and_a_dead_target_reset_at_once(echo: int) -> None:
    async with ChaosProxy(echo) as proxy:
        proxy.refusing = True
        reader, writer = await dial(proxy)
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(PATIENCE_S):
                await reader.read(1)
        writer.close()
        proxy.refusing = False
        assert await there_and_back(proxy, b"ok") == b"ok"
