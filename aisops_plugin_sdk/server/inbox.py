"""Events that wait for the Runner while their providers wait for us: the Runner asks, stores them, and says so.

An event is *held* from its request until it is decided. The Runner's question (POST /v1/inbound) carries what it
decided about the events of the last answer, and is answered with those that are held, or after a while with none. What
a question does not decide is given out again: a Runner that lost an answer, or a new one, asks and gets it. Whoever
waits too long gives the event up: its provider is told to come again, and the key tells the Runner that it is the same.
"""

import asyncio
import enum
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

POLL_S = 20.0
QUIET_S = 5.0
"""Without a question for so long nobody stores anything."""
MAX_HELD = 64
MAX_ANSWER = 16


class Decision(enum.Enum):
    """What became of an event."""

    STORED = "stored"
    REFUSED = "refused"
    LATE = "late"
    NOBODY = "nobody"
    FULL = "full"


@dataclass(eq=False, slots=True)
class Held:
    """One event; `document` is what the Runner is given."""

    document: dict[str, Any]
    decided: "asyncio.Future[Decision]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Inbox:
    """The held events of one sidecar.

    Args:
        monotonic: seconds.
        poll_s: how long a question waits for an event.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic, poll_s: float = POLL_S) -> None:
        self._monotonic = monotonic
        self._poll_s = poll_s
        self._held: dict[str, Held] = {}
        self._asked_at: float | None = None
        self._asking: asyncio.Event | None = None
        self._closed = False

    @property
    def attended(self) -> bool:
        """Whether a Runner asks for events."""
        recently = self._asked_at is not None and self._monotonic() - self._asked_at < QUIET_S
        return not self._closed and (self._asking is not None or recently)

    async def keep(self, document: dict[str, Any], hold_s: float) -> Decision:
        """Hold an event until the Runner has decided, at most `hold_s` seconds."""
        if not self.attended:
            return Decision.NOBODY
        if len(self._held) >= MAX_HELD:
            return Decision.FULL
        held = Held(document)
        identity = secrets.token_hex(16)
        self._held[identity] = held
        if self._asking is not None:
            self._asking.set()
        try:
            async with asyncio.timeout(hold_s):
                return await held.decided
        except TimeoutError:
            return Decision.LATE
        finally:
            del self._held[identity]

    async def ask(self, stored: Iterable[str], refused: Iterable[str]) -> list[dict[str, Any]]:
        """Answer the Runner's question: take its decisions, and give out what is held.

        Args:
            stored: ids of events that are on the Runner's disk.
            refused: ids of events that it did not take.
        """
        self._decide(stored, Decision.STORED)
        self._decide(refused, Decision.REFUSED)
        if self._asking is not None:
            self._asking.set()  # a newer question takes the place of an older one
        mine = self._asking = asyncio.Event()
        try:
            if not self._undecided() and not self._closed:
                async with asyncio.timeout(self._poll_s):
                    await mine.wait()
        except TimeoutError:
            pass
        finally:
            newest = self._asking is mine
            if newest:
                self._asking, self._asked_at = None, self._monotonic()
        return self._undecided() if newest else []

    def close(self) -> None:
        """Give up what is held, and let the question go."""
        self._closed = True
        self._decide(list(self._held), Decision.NOBODY)
        if self._asking is not None:
            self._asking.set()

    def _decide(self, identities: Iterable[str], decision: Decision) -> None:
        for identity in identities:
            held = self._held.get(identity)
            if held is not None and not held.decided.done():
                held.decided.set_result(decision)

    def _undecided(self) -> list[dict[str, Any]]:
        waiting = [(key, held) for key, held in self._held.items() if not held.decided.done()]
        return [{"id": key, **held.document} for key, held in waiting[:MAX_ANSWER]]
