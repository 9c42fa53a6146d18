"""Watches the credentials of every open stream with one look for all of them.

Whoever changes a token changes a mark in the database in the same transaction. Twice a second the mark is read: one
row, however many streams are open. Only when it has moved are the tokens in use looked at, and once a minute in any
case. So a revocation made anywhere, by another Core or a command line, ends its streams within a second, and one made
in this process at once. Expiry is a matter of the clock alone and costs no look at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from sqlalchemy import Connection, bindparam, select

from aisops_core.clock import Clock
from aisops_core.errors import StorageUnavailable
from aisops_core.identity.holds import Hold, Holds
from aisops_core.storage.engine import Store
from aisops_core.storage.hot import HotLookup
from aisops_core.storage.meta import TOKENS_MARK, read_mark
from aisops_core.storage.schema import tokens

LOOK_S: Final = 0.5
"""How long a revocation made elsewhere may stay unnoticed, beside the look itself."""
FULL_LOOK_S: Final = 60.0
"""How long one may that was written into the database by hand."""
_GOOD: Final = HotLookup(
    lambda keys: select(tokens.c.token_id).where(
        tokens.c.token_id.in_(keys),
        tokens.c.revoked_unix_ms.is_(None),
        (tokens.c.expires_unix_ms.is_(None)) | (tokens.c.expires_unix_ms > bindparam("b_now_ms")),
    ),
    ("b_now_ms",),
)
log = structlog.get_logger(__name__)


class CredentialWatch:
    """Ends the use of credentials that are no longer good."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._holds = Holds()
        self._mark: bytes | None = None
        self._looked_at_all = clock.monotonic()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def hold(self, token_id: str, until_unix_ms: int | None, lost: Callable[[], None]) -> Hold:
        """Call `lost`, once, when the token is revoked or this moment (wall clock, ms) has come.

        A revocation that was committed while the caller authenticated is found too.
        """
        hold = Hold(token_id, until_unix_ms, lost)
        self._holds.add(hold)
        return hold

    def release(self, hold: Hold) -> None:
        """The use has ended."""
        self._holds.discard(hold)

    def hurry(self) -> None:
        """Look at once: something was changed."""
        self._hurry.set()

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="credential-watch")

    async def stop(self) -> None:
        """Look no more. Repeating it changes nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look(self) -> None:
        """Look once.

        Raises:
            StorageUnavailable: The database could not serve; open streams go on, new ones cannot open without it.
        """
        self._holds.expire(self._clock.unix_ms())
        fresh = self._holds.take_fresh()
        try:
            mark = await self._store.read(lambda connection: read_mark(connection, TOKENS_MARK))
            overdue = self._clock.monotonic() - self._looked_at_all >= FULL_LOOK_S
            if mark != self._mark or overdue:
                await self._examine(self._holds.tokens())
                self._mark, self._looked_at_all = mark, self._clock.monotonic()
            elif fresh:
                await self._examine(fresh)
        except BaseException:
            self._holds.look_again(fresh)
            raise

    async def _examine(self, token_ids: Sequence[str]) -> None:
        if not token_ids:
            return
        now_ms = self._clock.unix_ms()

        def good(connection: Connection) -> set[str]:
            return {str(token_id) for (token_id,) in _GOOD.rows(connection, token_ids, now_ms)}

        known = await self._store.read(good)
        lost = self._holds.lose(token_id for token_id in token_ids if token_id not in known)
        if lost:
            log.info("streams lose their credential", streams=lost)

    async def _run(self) -> None:
        while True:
            self._hurry.clear()
            try:
                await self.look()
            except StorageUnavailable as error:
                log.warning("credentials not looked at; trying again", **error.diagnostics())
            except Exception:
                log.exception("credentials not looked at; trying again")
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._hurry.wait()
            except TimeoutError:
                continue
