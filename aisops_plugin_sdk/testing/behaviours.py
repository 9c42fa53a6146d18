"""How a set of behaviours is examined: each is a function whose docstring is `number: title`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from aisops_plugin_sdk.errors import ContractError
from aisops_plugin_sdk.testing.sidecar_process import SidecarFailed

Outcome = Literal["passed", "failed", "skipped"]
LIMIT_S = 30.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """How one behaviour went. `reason` says what was seen when it failed, or why it was skipped."""

    behaviour: str
    title: str
    outcome: Outcome
    reason: str = ""


class Skipped(Exception):
    """The behaviour does not apply to this plugin."""


async def examine_one(behaviour: Callable[[T], Awaitable[None]], subject: T) -> Finding:
    """Run one behaviour and say how it went."""
    number, _, title = (behaviour.__doc__ or "").partition(": ")
    try:
        async with asyncio.timeout(LIMIT_S):
            await behaviour(subject)
    except Skipped as reason:
        return Finding(number, title, "skipped", str(reason))
    except (AssertionError, ContractError, OSError, SidecarFailed, TimeoutError) as error:
        return Finding(number, title, "failed", str(error) or type(error).__name__)
    return Finding(number, title, "passed")


def require(fact: bool, text: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise AssertionError unless the fact holds."""
    if not fact:
        raise AssertionError(text)
