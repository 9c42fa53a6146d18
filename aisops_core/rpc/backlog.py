"""What a Runner delivered and the dispatcher has not had yet: it collects while one commit is under way."""

from __future__ import annotations

from itertools import chain

from aisops_core.rpc.bell import Bell
from aisops_protocol.session import Delivered

HELD_BYTES = 8 * 1024 * 1024
"""Delivered and not yet handed to the dispatcher: above this the stream is not read, whatever window was given."""


class Backlog:
    """Filled by the stream's reader, emptied by its committer, one batch at a time."""

    __slots__ = ("_held_bytes", "_parts", "_room", "finished")

    def __init__(self) -> None:
        self._parts: list[Delivered] = []
        self._held_bytes = 0
        self._room = Bell()
        self.finished = False
        """Nothing more will be added."""

    def add(self, part: Delivered) -> None:
        """Put what was delivered behind what waits."""
        self._parts.append(part)

    async def hold(self, octets: int) -> None:
        """Count a frame just read; when too much waits, return only after it was taken."""
        if not self._parts:
            return
        self._held_bytes += octets
        while self._held_bytes > HELD_BYTES:
            await self._room.wait()

    def take(self) -> Delivered | None:
        """Everything that waits, as one delivery up to the newest watermark; None when nothing does."""
        if not self._parts:
            return None
        parts, self._parts = self._parts, []
        self._held_bytes = 0
        self._room.ring()
        newest = parts[-1]
        envelopes = tuple(chain.from_iterable(part.envelopes for part in parts))
        return Delivered(newest.queue_epoch, envelopes, newest.upto_seq)
