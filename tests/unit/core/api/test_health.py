"""Readiness: every check counts, a slow or failing one is named, and a stop is told at once."""

from __future__ import annotations

import asyncio

import pytest

from aisops_core.api import health
from aisops_core.api.health import Readiness
from aisops_core.errors import StorageUnavailable


async def fine() -> str | None:
    return None


async def reason() -> str | None:
    return "not listening"


async def failing() -> str | None:
    raise StorageUnavailable("the disk of customer 7 is full")


async def test_every_check_is_named_with_ok_or_its_reason() -> None:
    readiness = Readiness({"a": fine, "b": reason, "c": failing})
    assert await readiness.report() == {"a": "ok", "b": "not listening", "c": StorageUnavailable.code}


async def test_a_check_that_hangs_does_not_hang_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 0.01)

    async def hanging() -> str | None:
        await asyncio.Event().wait()
        return None

    assert await Readiness({"store": hanging}).report() == {"store": "no answer in time"}


async def test_a_core_that_stops_is_not_ready_although_everything_works() -> None:
    readiness = Readiness({"a": fine})
    readiness.stop()
    assert await readiness.report() == {"stopping": "Core is stopping", "a": "ok"}
