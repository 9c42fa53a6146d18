"""Every test here runs on SQLite, and on PostgreSQL where its programs are installed or a server is named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.core_store import HeldClock, Parts, ScriptedRunner, fresh_database, running
from tests.support.postgres import postgres


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str | None]:
    with postgres() as dsn:
        yield dsn


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    dsn = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else None
    with fresh_database(request.param, tmp_path, dsn) as address:
        yield address


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
async def parts(url: str, clock: HeldClock) -> AsyncIterator[Parts]:
    async with running(url, clock) as running_parts:
        yield running_parts


@pytest.fixture
async def runner(parts: Parts) -> ScriptedRunner:
    return await ScriptedRunner(parts).enroll()
