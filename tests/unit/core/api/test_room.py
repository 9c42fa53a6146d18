import asyncio

import pytest

from aisops_core.api.problems import Problem
from aisops_core.api.room import Room


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_room_is_given_out_first_come_first_served() -> None:
    room, held, inside = Room(10), asyncio.Event(), []

    async def come(name: str, octets: int) -> None:
        async with room.take(octets):
            inside.append(name)
            await held.wait()

    tasks = [asyncio.create_task(come(name, octets)) for name, octets in (("a", 6), ("b", 6), ("c", 1))]
    await settle()
    assert inside == ["a"], "a small one does not overtake: else a large one might wait for ever"
    held.set()
    await asyncio.gather(*tasks)
    assert inside == ["a", "b", "c"]


async def test_whoever_hangs_up_or_fails_gives_the_room_back() -> None:
    room = Room(10)
    with pytest.raises(RuntimeError):
        async with room.take(10):
            raise RuntimeError
    async with room.take(10):
        waiting = asyncio.create_task(room.take(1).__aenter__())
        await settle()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with room.take(10):
        pass


async def test_without_room_in_time_the_caller_is_asked_to_come_again() -> None:
    room = Room(10, patience_s=0)
    async with room.take(10):
        with pytest.raises(Problem) as refused:
            async with room.take(1):
                raise AssertionError
    assert (refused.value.status, refused.value.code) == (503, "busy")
    async with room.take(10):
        pass
