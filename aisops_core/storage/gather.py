"""Gathers what many tasks ask for at the same time into one unit of work or one read: statements then run in batches.

While one batch is under way the next one gathers; an item never waits for company.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
BATCH_LIMIT: Final = 512
Outcomes: TypeAlias = Sequence[Outcome | Exception]


class Gather(Generic[Item, Outcome]):
    """Has `apply` deal with all waiting items at once.

    Args:
        apply: Runs the items in one unit of work or read, and returns one outcome per item, in order; an exception
            instance is raised to that item's caller alone. When it raises, each item is tried again on its own.
    """

    def __init__(self, apply: Callable[[Sequence[Item]], Awaitable[Outcomes[Outcome]]]) -> None:
        self._apply = apply
        self._waiting: list[tuple[Item, asyncio.Future[Outcome]]] = []
        self._driver: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Outcome:
        """Hand in one item and wait for its outcome.

        Raises:
            Exception: This item's own error.
            StorageUnavailable: The database could not serve.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive(), name="store-gather")
        return await future

    async def _drive(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_LIMIT], self._waiting[BATCH_LIMIT:]
            if not await self._write(batch, last=len(batch) == 1):
                for entry in batch:
                    await self._write([entry], last=True)

    async def _write(self, batch: Sequence[tuple[Item, asyncio.Future[Outcome]]], *, last: bool) -> bool:
        """True when every future of the batch has its outcome."""
        items = [item for item, _ in batch]
        try:
            outcomes = await self._apply(items)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            if not last:
                return False
            outcomes = [error] * len(batch)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        return True
