"""The journal after damage, and after an older Runner: no other job, no other phase, no other result is believed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from aisops_protocol.messages import EffectClass, JobResult, ResultStatus
from aisops_runner.outbox import schema
from aisops_runner.outbox.outbox import FILE_NAME, Outbox
from aisops_runner.outbox.sums import SUMMED_EPOCH
from tests.support.core_end import CoreEnd, core_end
from tests.support.runner_end import Provider, all_done, job, runner

pytestmark = pytest.mark.integration


async def leave_a_job(core: CoreEnd, folder: Path) -> bytes:
    """A Runner that dies while it calls for an idempotent job; returns the id of its journal."""
    provider = Provider()
    provider.gate.clear()
    async with runner(folder, core.port, provider=provider) as ends:
        core.dispatch(job(1, EffectClass.IDEMPOTENT))
        await provider.called(1)
        return (await ends.outbox.inventory()).journal_id


def change(folder: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(folder / FILE_NAME) as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("job_id", "job-2"),
        ("phase", 1),
        ("capability", "x.dn"),
        ("input", b"[]"),
        ("effect_key", "job-2"),
        ("effect_class", 2),
        ("timeout_ms", 30_001),
        ("calls", 7),
        ("context", '["", "", [], 1]'),
        ("sum", 5),
        ("state_sum", None),
    ],
)
async def test_a_changed_row_is_set_aside_and_core_told_by_another_journal(
    tmp_path: Path, column: str, value: object
) -> None:
    second = Provider()
    async with core_end() as core:
        journal_id = await leave_a_job(core, tmp_path)
        change(tmp_path, f"UPDATE jobs SET {column} = ?", value)
        async with runner(tmp_path, core.port, provider=second) as ends:
            assert (await ends.executor.held_jobs()).jobs == ()
            assert (await ends.outbox.inventory()).journal_id != journal_id
            kept = await ends.outbox.report(0)
            assert kept["quarantined_rows_kept"] == 1
    assert not second.effects


async def test_a_sound_row_is_taken_up(tmp_path: Path) -> None:
    second = Provider()
    async with core_end() as core:
        await leave_a_job(core, tmp_path)
        async with runner(tmp_path, core.port, provider=second):
            await core.until(all_done(core, 1))
    assert second.effects == {"job-1": 1}


async def test_a_changed_result_is_never_sent_again_and_the_job_never_run_again(tmp_path: Path) -> None:
    async with core_end() as core:
        async with runner(tmp_path, core.port):
            core.dispatch(job(1))
            await core.until(all_done(core, 1))
        with sqlite3.connect(tmp_path / FILE_NAME) as connection:
            (kept,) = connection.execute("SELECT result FROM jobs").fetchone()
        connection.close()
        change(tmp_path, "UPDATE jobs SET result = ?", kept.replace(b"true", b"fals"))
        again = Provider()
        async with runner(tmp_path, core.port, provider=again) as ends:
            core.dispatch(job(1, lease=2))
            await ends.executor.settle()
            assert not again.effects
    assert [one.output for one in core.of(JobResult)] == [b'{"done":true}']


async def test_a_file_of_an_older_runner_is_taken_over_and_may_go_back(tmp_path: Path) -> None:
    """Up, down and up again: rows that a Runner without checksums wrote are not called damaged."""
    second, third = Provider(), Provider()
    second.gate.clear()
    async with core_end() as core:
        await leave_a_job(core, tmp_path)
        with sqlite3.connect(tmp_path / FILE_NAME) as connection:
            for statement in (
                "ALTER TABLE jobs DROP COLUMN sum",
                "ALTER TABLE jobs DROP COLUMN state_sum",
                "DROP TABLE drops",
            ):
                connection.execute(statement)
            connection.execute("DELETE FROM meta WHERE name = ?", (SUMMED_EPOCH,))
        connection.close()
        async with runner(tmp_path, core.port, provider=second):
            await second.called(1)
        with sqlite3.connect(tmp_path / FILE_NAME) as connection:  # what an older Runner would leave
            connection.execute(
                "INSERT INTO epochs (epoch, start_seq, welcomed) SELECT ?, MAX(start_seq), 1 FROM epochs", (b"o" * 16,)
            )
            connection.execute("UPDATE jobs SET phase = 1, calls = 4")
        connection.close()
        async with runner(tmp_path, core.port, provider=third):
            await core.until(all_done(core, 1))
    assert third.effects == {"job-1": 1}
    assert [one.status for one in core.of(JobResult)] == [ResultStatus.SUCCEEDED]


async def test_a_salvaged_file_does_not_call_its_damage_sound(tmp_path: Path) -> None:
    second = Provider()
    async with core_end() as core:
        await leave_a_job(core, tmp_path)
        change(tmp_path, "UPDATE jobs SET input = ?", b"[1]")
        with sqlite3.connect(tmp_path / FILE_NAME) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_done'").fetchone()[0]
        connection.close()
        raw = bytearray((tmp_path / FILE_NAME).read_bytes())
        raw[(page - 1) * 4096 : page * 4096] = bytes(4096)
        (tmp_path / FILE_NAME).write_bytes(raw)
        async with runner(tmp_path, core.port, provider=second) as ends:
            assert ends.outbox.salvaged
            assert (await ends.executor.held_jobs()).jobs == ()
    assert not second.effects


async def test_a_new_file_has_its_checksums_from_the_start(tmp_path: Path) -> None:
    outbox = await Outbox.open(tmp_path)
    assert await outbox.database.read(lambda c: schema.get_meta(c, SUMMED_EPOCH)) == outbox.epoch
    await outbox.close()
