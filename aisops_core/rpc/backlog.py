"""What a Runner delivered and the dispatcher has not had yet: it collects while one commit is under way."""

from __future__ import annotations

import asyncio
from itertools import chain

from aisops_protocol.session import Delivered

HELD_BYTES = 8 * 1024 * 1024
"""Delivered and not yet handed to the dispatcher: above this the stream is not read, whatever window was given."""


class Backlog:
    """Filled by the stream's reader, emptied by its committer, one batch at a time."""

    def __init__(self) -> None:
        self._parts: list[Delivered] = []
        self._held_bytes = 0
        self._finished = False
        self._changed, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    def add(self, part: Delivered) -> None:
        """Put what was delivered behind what waits."""
        self._parts.append(part)
        self._changed.set()

    def finish(self) -> None:
        """Nothing more will be added: what waits is still taken, then `take` returns None."""
        self._finished = True
        self._changed.set()

    async def hold(self, octets: int) -> None:
        """Count a frame just read; when too much waits, return only after it was taken."""
        if not self._parts:
            return
        self._held_bytes += octets
        if self._held_bytes > HELD_BYTES:
            self._room.clear()
            await self._room.wait()

    async def take(self) -> Delivered | None:
        """Everything that waits, as one delivery up to the newest watermark; None once finished and empty."""
        while not self._parts:
            if self._finished:
                return None
            self._changed.clear()
            await self._changed.wait()
        parts, self._parts = self._parts, []
        self._held_bytes = 0
        self._room.set()
        newest = parts[-1]
        envelopes = tuple(chain.from_iterable(part.envelopes for part in parts))
        return Delivered(newest.queue_epoch, envelopes, newest.upto_seq)
