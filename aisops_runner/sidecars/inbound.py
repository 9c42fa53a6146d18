"""Takes the events of a sidecar's webhooks: asks for them, has each stored, and says so with the next question.

The provider waits meanwhile, so nothing here may take long; and nothing may be said to be stored that is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from aisops_plugin_sdk import contracts, events
from aisops_plugin_sdk.errors import ContractError

AGAIN_S = 0.5
"""Pause after a question that was not answered as the contract says."""

_log = structlog.get_logger("aisops_runner.sidecars")


@dataclass(frozen=True, slots=True)
class InboundEvent:
    """One event of a provider: `key` is the provider's own id of it, `data` what Core is told."""

    plugin: str
    kind: str
    key: str
    data: dict[str, Any]
    time_unix_ms: int


Keep = Callable[[InboundEvent], Awaitable[bool]]
"""Stores an event, or one that was stored before; False when it could not be stored."""


class Asked(Protocol):
    """The part of the sidecar's client that is needed here."""

    async def inbound(self, stored: Sequence[str], refused: Sequence[str]) -> dict[str, Any] | None:
        """Ask for events; None when the answer is none."""
        ...


async def attend(client: Asked, plugin: str, keep: Keep, redact: Callable[[str], str]) -> None:
    """Take events until cancelled.

    Args:
        client: Asks the sidecar.
        plugin: Its name.
        keep: Stores an event.
        redact: Takes secrets out of a text.
    """
    stored: list[str] = []
    refused: list[str] = []
    while True:
        answer = await client.inbound(stored, refused)
        stored, refused = [], []
        found = None if answer is None else _events(answer)
        if found is None:
            await asyncio.sleep(AGAIN_S)
            continue
        for identity, event in found:
            known = _read(plugin, event, redact)
            kept = known is not None and await keep(known)
            (stored if kept else refused).append(identity)


def _events(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]] | None:
    try:
        contracts.validate(answer, "inbound-answer-v1")
    except ContractError as error:
        _log.warning("a sidecar's answer about inbound events breaks the contract", error=str(error)[:200])
        return None
    return [(event["id"], event) for event in answer["result"]["events"]]


def _read(plugin: str, event: dict[str, Any], redact: Callable[[str], str]) -> InboundEvent | None:
    """Check what the sidecar says; None for what is no event of its plugin."""
    try:
        checked = events.build_event(
            plugin, event["kind"], event["facts"], job_id="", time_ms=event["time_ms"], redact=redact
        )
    except ValueError as error:
        _log.warning("an inbound event was refused", plugin=plugin, error=redact(str(error))[:200])
        return None
    data = {"plugin": plugin, "key": event["key"], "facts": checked.facts}
    return InboundEvent(plugin, checked.kind, event["key"], data, min(checked.time_ms, (1 << 53) - 1))
