"""Which credentials are in use by open streams, and whose time is over: in memory, no I/O."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

SLACK: Final = 64
"""Ended uses that may be remembered beside those that go on."""


@dataclass(slots=True, eq=False)
class Hold:
    """One use of a credential. `lost` is called, once, when it is no longer good."""

    token_id: str
    until_unix_ms: int | None
    lost: Callable[[], None]


class Holds:
    """Every use of a credential in this process."""

    def __init__(self) -> None:
        self._of_token: dict[str, set[Hold]] = {}
        self._fresh: set[str] = set()
        self._ending: list[tuple[int, int, Hold]] = []
        self._count = 0

    def __len__(self) -> int:
        return sum(map(len, self._of_token.values()))

    def add(self, hold: Hold) -> None:
        """A credential is used from now on. It counts as fresh: nobody has looked at it since it was used."""
        self._of_token.setdefault(hold.token_id, set()).add(hold)
        self._fresh.add(hold.token_id)
        if hold.until_unix_ms is not None:
            self._forget_ended()
            self._count += 1
            heapq.heappush(self._ending, (hold.until_unix_ms, self._count, hold))

    def discard(self, hold: Hold) -> None:
        """The use has ended."""
        holds = self._of_token.get(hold.token_id, set())
        holds.discard(hold)
        if not holds:
            self._of_token.pop(hold.token_id, None)

    def tokens(self) -> list[str]:
        """Every token in use."""
        return list(self._of_token)

    def take_fresh(self) -> list[str]:
        """Tokens whose use began since this was last asked, and that are still in use."""
        fresh, self._fresh = self._fresh, set()
        return [token_id for token_id in fresh if token_id in self._of_token]

    def look_again(self, token_ids: Iterable[str]) -> None:
        """A look at these failed."""
        self._fresh.update(token_ids)

    def _forget_ended(self) -> None:
        """Let go of ended uses now and then: their time may be weeks away, and Runners come and go."""
        if len(self._ending) > 2 * len(self._of_token) + SLACK:
            self._ending = [entry for entry in self._ending if self._in_use(entry[2])]
            heapq.heapify(self._ending)

    def _in_use(self, hold: Hold) -> bool:
        return hold in self._of_token.get(hold.token_id, ())

    def lose(self, token_ids: Iterable[str]) -> int:
        """These tokens are no longer good: end every use of them; returns how many uses that were."""
        lost = [hold for token_id in token_ids for hold in self._of_token.pop(token_id, ())]
        for hold in lost:
            hold.lost()
        return len(lost)

    def expire(self, now_ms: int) -> int:
        """End every use whose time is over (wall clock, ms); returns how many that were."""
        lost = 0
        while self._ending and self._ending[0][0] <= now_ms:
            _, _, hold = heapq.heappop(self._ending)
            if self._in_use(hold):
                self.discard(hold)
                hold.lost()
                lost += 1
        return lost
