"""What the Runner does about storage that fails under it: nothing known is lost, and nothing stays failed for ever."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from aisops_protocol.messages import GapReport, JobResult, ResultStatus
from aisops_runner.app import build
from aisops_runner.config import RunnerConfig
from aisops_runner.errors import StorageFailed
from aisops_runner.outbox import database as database_module
from aisops_runner.outbox.outbox import BALLAST_NAME, FILE_NAME, Outbox
from tests.support.core_end import core_end
from tests.support.outbox_rows import event
from tests.support.runner_end import Provider, all_done, job, runner

pytestmark = pytest.mark.integration


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a file appears, and nobody tells
            await asyncio.sleep(0.02)


async def work_unheard(directory: Path, provider: Provider, count: int) -> None:
    """Do jobs for a Core that acknowledges nothing, and die."""
    async with core_end(acknowledging=False) as core, runner(directory, core.port, provider=provider):
        core.dispatch(*(job(number) for number in range(count)))
        await core.until(all_done(core, count))


def damage(directory: Path, statement: str) -> None:
    with sqlite3.connect(directory / FILE_NAME) as connection:
        assert connection.execute(statement).rowcount == 1
    connection.close()


async def test_a_result_whose_row_was_damaged_is_sent_again_from_the_journal(tmp_path: Path):
    provider = Provider()
    await work_unheard(tmp_path, provider, 3)
    damage(
        tmp_path,
        "UPDATE out SET payload = CAST(payload || x'00' AS BLOB) "
        "WHERE seq = (SELECT result_seq FROM jobs WHERE job_id = 'job-1')",
    )
    async with core_end() as core, runner(tmp_path, core.port, provider=provider):
        await core.until(all_done(core, 3))
        assert {result.job_id: result.status for result in core.of(JobResult)} == dict.fromkeys(
            ("job-0", "job-1", "job-2"), ResultStatus.SUCCEEDED
        )
        assert [gap.reason for gap in core.of(GapReport)] == ["checksum mismatch"]
    assert set(provider.effects.values()) == {1}


async def test_a_result_damaged_in_the_journal_as_well_is_given_up_and_holds_nobody_up(tmp_path: Path):
    provider = Provider()
    await work_unheard(tmp_path, provider, 3)
    damage(
        tmp_path,
        "UPDATE out SET payload = x'ff' WHERE seq = (SELECT result_seq FROM jobs WHERE job_id = 'job-1')",
    )
    damage(tmp_path, "UPDATE jobs SET result = x'ff' WHERE job_id = 'job-1'")
    async with core_end() as core, runner(tmp_path, core.port, provider=provider):
        await core.until(lambda: bool(core.of(GapReport)))
        assert {result.job_id for result in core.of(JobResult)} == {"job-0", "job-2"}


@pytest.mark.parametrize(
    "change",
    [
        "job_id = CAST(x'6a6f62ff' AS TEXT)",
        "job_id = 'no/id'",
        "lease_id = 5",
        "lease_id = x'00'",
        "attempt = 'x'",
        "phase = 7",
        "context = '{'",
        "effect_class = 99",
        "capability = CAST(x'ff' AS TEXT)",
    ],
)
async def test_an_impossible_row_of_the_journal_does_not_keep_the_runner_from_core(tmp_path: Path, change: str):
    """One such row would make every Hello fail. Core learns by the journal's new id that something is missing."""
    provider = Provider()
    await work_unheard(tmp_path, provider, 2)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        before = connection.execute("SELECT value FROM meta WHERE name = 'journal_id'").fetchone()[0]
    connection.close()
    damage(tmp_path, f"UPDATE jobs SET {change} WHERE job_id = 'job-1'")
    async with core_end() as core, runner(tmp_path, core.port, provider=provider):
        core.dispatch(job(7))
        await core.until(lambda: "job-7" in {result.job_id for result in core.of(JobResult)})
        assert "job-1" not in {entry.job_id for entry in core.hellos[0].held_jobs}
        assert core.hellos[0].journal_id != before


async def test_a_handle_that_could_not_be_opened_again_at_once_is_opened_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    outbox = await Outbox.open(tmp_path)
    real, refusals = database_module.connect, [True, True]

    def connect(path: str) -> sqlite3.Connection:
        if refusals:
            refusals.pop()
            raise sqlite3.OperationalError("unable to open database file")
        return real(path)

    def fail(_connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    monkeypatch.setattr(database_module, "connect", connect)
    with pytest.raises(StorageFailed):
        await outbox.database.write(fail)
    while refusals:
        with pytest.raises(StorageFailed):
            await outbox.put(event(1))
    await outbox.put(event(2))
    assert outbox.last_seq == 1
    await outbox.close()


async def test_the_reserve_is_taken_again_once_the_disk_has_room(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    outbox._upkeep._ballast.release()
    assert not (tmp_path / BALLAST_NAME).exists()
    await outbox.put(event(1))
    await until((tmp_path / BALLAST_NAME).exists)
    await outbox.close()


async def test_a_runner_whose_data_directory_was_removed_finishes_and_ends_with_the_reason(tmp_path: Path):
    directory = tmp_path / "data"
    async with core_end() as core:
        built = build(RunnerConfig(core_endpoint=f"http://127.0.0.1:{core.port}", data_dir=directory), env={})
        running = asyncio.create_task(built.run(signals=False))
        await core.until(lambda: bool(core.beats), timeout_s=60)
        shutil.rmtree(directory)
        core.dispatch(job(1))
        with pytest.raises(StorageFailed, match="removed while in use"):
            async with asyncio.timeout(60):
                await running
        await core.until(lambda: len(core.goodbyes) == 1)


async def test_a_damaged_index_is_found_at_the_start_and_the_rows_are_saved(tmp_path: Path):
    """SQLite's quick check calls such a file sound, and every later question through the index fails."""
    provider = Provider()
    await work_unheard(tmp_path, provider, 3)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs_done'").fetchone()[0]
    connection.close()
    raw = bytearray((tmp_path / FILE_NAME).read_bytes())
    end = page * size
    raw[end - 4 : end] = bytes(4)
    (tmp_path / FILE_NAME).write_bytes(raw)
    async with core_end() as core, runner(tmp_path, core.port, provider=provider):
        await core.until(all_done(core, 3))
    assert [one for one in tmp_path.iterdir() if one.name.startswith(f"{FILE_NAME}.corrupt-")]  # noqa: ASYNC240 - after the end
    assert set(provider.effects.values()) == {1}
