"""A provider's stand-in (`demo/providers`) as the upstream of a delivery test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from demo.providers.faults import Fault, FaultKind


class StandInUpstream:
    """One started stand-in.

    Args:
        stand_in: With `received`, `calls`, `faults` and `stop`, as all of them have.
        env: What leads a plugin to it.
        name_of: What the provider would know an accepted message again by.
    """

    def __init__(self, stand_in: Any, env: Mapping[str, str], name_of: Callable[[Any], str]) -> None:
        self.env = env
        self._stand_in, self._name_of = stand_in, name_of

    @property
    def calls(self) -> int:
        return self._stand_in.calls

    def effects(self) -> Sequence[str]:
        return [self._name_of(message) for message in self._stand_in.received]

    def lose_answer(self) -> None:
        self._stand_in.faults.add(Fault(FaultKind.DROP_AFTER_ACCEPT))

    def hang(self) -> None:
        self._stand_in.faults.add(Fault(FaultKind.HANG_BEFORE_ACCEPT))

    async def go_away(self) -> None:
        await self._stand_in.stop()
