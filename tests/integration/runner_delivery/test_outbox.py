"""The outbox on a real SQLite file: nothing acknowledged is lost, nothing damaged goes unnoticed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from aisops_protocol.limits import PREVIOUS_EPOCHS
from aisops_protocol.messages import (
    Heartbeat,
    JobAccept,
    LogEvent,
    LogLevel,
    Skip,
)
from aisops_protocol.resume import forgotten, watermarks
from aisops_runner.errors import DataDirUnusable, EnvelopeTooLarge, StorageFailed
from aisops_runner.outbox import highwater, store
from aisops_runner.outbox import upkeep as upkeep_module
from aisops_runner.outbox.opening import HIGHWATER_NAME
from aisops_runner.outbox.outbox import FILE_NAME, Outbox
from aisops_runner.outbox.queue import Bounds
from tests.chaos.network import until
from tests.support.outbox_rows import bodies, drain, event, log

pytestmark = pytest.mark.integration


async def test_what_was_put_is_there_after_a_restart_in_order(tmp_path: Path):
    outbox = await Outbox.open(tmp_path / "data")
    await outbox.put(*[event(n) for n in range(10)])
    await outbox.put(event(10))
    await outbox.close()

    again = await Outbox.open(tmp_path / "data")
    assert bodies(await drain(again)) == [event(n) for n in range(11)]
    await again.close()


async def test_the_files_are_private(tmp_path: Path):
    (tmp_path / "data").mkdir(mode=0o755)
    outbox = await Outbox.open(tmp_path / "data")
    await outbox.put(event(1))

    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()} == {0o600}
    await outbox.close()


async def test_a_connected_runner_is_served_from_memory_and_a_returning_one_from_the_file(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.put(*[event(n) for n in range(1000)])
    from_memory = await drain(outbox)
    outbox._tail.clear()

    assert await drain(outbox) == from_memory
    assert await drain(outbox, after=500) == from_memory[500:]
    await outbox.close()


async def test_what_nobody_waits_for_is_told_apart(tmp_path: Path):
    told: list[str] = []
    outbox = await Outbox.open(tmp_path)
    outbox.listen(lambda: told.append("moved"), lambda: told.append("patient"))

    await outbox.put(JobAccept("j-1", b"l" * 16, 1), log(1))
    await outbox.put(JobAccept("j-2", b"l" * 16, 1), event(1))
    outbox.ack(2)
    assert told == ["patient", "moved", "moved"]
    assert len(await drain(outbox, after=2)) == 2
    await outbox.close()


async def test_the_window_is_kept(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.put(*[event(n, size=1000) for n in range(50)])

    assert len(await outbox.take(0, 7, 1_000_000)) == 7
    assert len(await outbox.take(0, 256, 5_500)) == 5
    assert len(await outbox.take(0, 256, 10)) == 1
    assert await outbox.take(0, 0, 1000) == []
    await outbox.close()


async def test_acknowledged_rows_go_and_numbers_run_on(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.put(*[event(n) for n in range(5)])
    outbox.ack(5)
    await outbox.close()

    again = await Outbox.open(tmp_path)
    lane = await again.inventory()
    assert (again.stats.messages, again.stats.bytes) == (0, 0)
    assert (lane.next_seq, lane.oldest_unacked_seq, lane.epoch_start_seq) == (6, 6, 6)
    await again.put(event(9))
    assert await drain(again) == [(6, event(9))]
    await again.close()


async def test_every_opening_is_a_new_epoch_and_the_old_ones_are_told(tmp_path: Path):
    first = await Outbox.open(tmp_path)
    await first.put(event(1), event(2))
    await first.welcomed(b"c" * 16, 3)
    before = await first.inventory()
    await first.close()

    second = await Outbox.open(tmp_path)
    after = await second.inventory()
    assert after.queue_epoch != before.queue_epoch
    assert [(one.epoch, one.start_seq) for one in after.previous_epochs] == [(before.queue_epoch, 1)]
    assert (after.epoch_start_seq, after.oldest_unacked_seq, after.journal_id) == (3, 1, before.journal_id)
    assert after.last_core_epoch == b"c" * 16
    await second.close()


async def test_twenty_starts_without_a_connection_do_not_push_out_what_core_knows(tmp_path: Path):
    first = await Outbox.open(tmp_path)
    await first.put(event(1))
    await first.welcomed(b"c" * 16, 3)
    known = first.epoch
    await first.close()
    for _ in range(20):
        outbox = await Outbox.open(tmp_path)
        await outbox.close()

    last = await Outbox.open(tmp_path)
    assert known in [one.epoch for one in (await last.inventory()).previous_epochs]
    await last.close()


async def test_a_second_runner_on_the_same_directory_is_refused(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    with pytest.raises(DataDirUnusable, match=f"process {os.getpid()}") as refused:
        await Outbox.open(tmp_path)

    assert refused.value.code == "data_dir_in_use"
    await outbox.close()
    await (await Outbox.open(tmp_path)).close()


async def test_a_directory_that_cannot_be_used_is_refused_with_advice(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirUnusable, match="cannot use"):
        await Outbox.open(tmp_path / "file" / "data")


async def test_a_file_of_a_newer_runner_is_left_alone(tmp_path: Path):
    await (await Outbox.open(tmp_path)).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(DataDirUnusable, match="newer Runner"):
        await Outbox.open(tmp_path)


async def test_many_writers_share_commits(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    before = outbox.database.commits
    await asyncio.gather(*[outbox.put(event(n)) for n in range(2000)])

    assert outbox.database.commits - before < 200
    assert len(await drain(outbox)) == 2000
    await outbox.close()


async def test_a_failing_unit_undoes_itself_and_nobody_else(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)

    def guilty(work):
        work.append(store.draft(event(666)))
        raise ValueError("no")

    results = await asyncio.gather(
        outbox.put(event(1)), outbox.transact(guilty), outbox.put(event(2)), return_exceptions=True
    )

    assert [type(one) for one in results] == [type(None), ValueError, type(None)]
    assert bodies(await drain(outbox)) == [event(1), event(2)]
    assert outbox.stats.messages == 2
    await outbox.close()


async def test_a_caller_that_gives_up_does_not_hide_its_rows(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    writing = asyncio.create_task(outbox.put(event(1)))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await outbox.put(event(2))

    assert bodies(await drain(outbox)) == [event(1), event(2)]
    await outbox.close()


async def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_stored_and_it_recovers_alone(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.put(event(1))
    writer = outbox.database._writing
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages + 5}")
    stored = [event(1)]

    async def fill() -> None:
        for number in range(2, 100):
            await outbox.put(event(number, size=1000))
            stored.append(event(number, size=1000))

    with pytest.raises(StorageFailed):
        await fill()
    assert bodies(await drain(outbox)) == stored

    outbox.ack(outbox.last_seq)
    await outbox._upkeep.run()
    await outbox.put(event(1000))
    assert bodies(await drain(outbox)) == [event(1000)]
    await outbox.close()


async def test_after_a_fault_of_the_disk_the_file_is_opened_again(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    handle = outbox.database._writing
    faults = [1, 1]

    def failing(connection: sqlite3.Connection) -> None:
        if faults:
            faults.pop()
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        store.append(connection, [store.draft(event(1))])

    results = await asyncio.gather(outbox.database.write(failing), outbox.put(event(2)), return_exceptions=True)
    assert outbox.database._writing is not handle
    failed = [one for one in results if isinstance(one, BaseException)]
    assert all(isinstance(one, StorageFailed) for one in failed)
    await outbox.put(event(3))
    assert len(await drain(outbox)) == 3 - len(failed)
    await outbox.close()


async def test_a_slow_disk_does_not_hold_up_the_event_loop(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    held = threading.Event()
    writing = outbox.database.write(lambda connection: held.wait(10))
    turns = 0
    for _ in range(1000):
        await asyncio.sleep(0)
        turns += 1

    assert (turns, writing.done()) == (1000, False)
    held.set()
    await writing
    await outbox.close()


async def test_writing_to_a_closed_outbox_says_so(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.close()

    with pytest.raises(StorageFailed, match="closed"):
        await outbox.put(event(1))


async def test_what_could_never_be_sent_is_refused_before_it_is_stored(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)

    with pytest.raises(EnvelopeTooLarge):
        await outbox.put(event(1), event(2, size=5_000_000))
    assert outbox.stats.messages == 0
    await outbox.close()


async def test_logs_give_way_first_and_lowest_level_first_with_skips_in_their_place(tmp_path: Path):
    outbox = await Outbox.open(tmp_path, bounds=Bounds(max_bytes=40_000))
    accepts = [JobAccept(f"job-{n}", b"l" * 16, 1) for n in range(20)]
    for number in range(20):
        await outbox.put(accepts[number], log(number, LogLevel.ERROR), log(number), log(number), log(number))
    found = bodies(await drain(outbox))

    assert [body for body in found if isinstance(body, JobAccept)] == accepts
    assert len([body for body in found if isinstance(body, LogEvent) and body.level is LogLevel.ERROR]) == 20
    dropped = sum(body.count for body in found if isinstance(body, Skip))
    kept = len([body for body in found if isinstance(body, LogEvent)])
    assert (dropped + kept, outbox.stats.dropped) == (80, dropped)
    assert dropped > 0
    await outbox.close()


async def test_results_are_never_dropped_however_full_it_is(tmp_path: Path):
    outbox = await Outbox.open(tmp_path, bounds=Bounds(max_bytes=1000))
    await outbox.put(*[event(n, size=100) for n in range(100)])

    assert len(await drain(outbox)) == 100
    assert outbox.pressure().value == "no_starts"
    await outbox.close()


async def test_beats_offline_are_counted_in_one_row_until_it_is_sent(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    for number in range(5):
        await outbox.note_offline(Heartbeat(number, offline_beats=1, offline_ms=15_000))
    (found,) = await drain(outbox)
    assert found == (1, Heartbeat(4, offline_beats=5, offline_ms=75_000))

    await outbox.note_offline(Heartbeat(9, offline_beats=1, offline_ms=15_000))
    assert (await drain(outbox))[1] == (2, Heartbeat(9, offline_beats=1, offline_ms=15_000))
    await outbox.close()


async def test_upkeep_runs_one_after_the_other_on_a_disk_that_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two at once wrote one draft of the high-water record, and one of them found it gone."""
    monkeypatch.setattr(upkeep_module, "TRIM_AFTER_S", 0.01)
    real, free, lock = highwater.save, threading.Event(), threading.Lock()
    at_once: list[int] = []
    going = 0

    def slow(*given: Any) -> None:
        nonlocal going
        with lock:
            going += 1
            at_once.append(going)
        free.wait(10)
        real(*given)
        with lock:
            going -= 1

    monkeypatch.setattr(highwater, "save", slow)
    starts = 0
    start = upkeep_module.Upkeep._start

    def counted(self: upkeep_module.Upkeep) -> None:
        nonlocal starts
        starts += 1
        start(self)

    monkeypatch.setattr(upkeep_module.Upkeep, "_start", counted)
    outbox = await Outbox.open(tmp_path)
    await outbox.put(event(1))
    await until(lambda: at_once, "a record being written", 10)
    began = starts
    await outbox.put(event(2))
    outbox.ack(1)
    await until(lambda: starts >= began + 3, "the next upkeep being due", 10)
    free.set()
    await outbox.close()
    assert max(at_once) == 1
    assert highwater.load(tmp_path / HIGHWATER_NAME) == 2


async def test_an_opening_that_never_reached_core_by_itself_is_not_missed_in_a_full_history(
    tmp_path: Path,
):
    """A later Hello named it, so Core has a mark of it: it may fall out as the oldest, not before its neighbours."""

    async def opened(*, connects: bool) -> tuple[Any, int]:
        """What a Hello says of the lane, and the last number given before the end."""
        outbox = await Outbox.open(tmp_path)
        lane = None
        if connects:
            lane = await outbox.inventory()
            await outbox.welcomed(b"core", 1)
        await outbox.put(event(1))
        last = outbox.last_seq
        await outbox.close()
        return lane, last

    for _ in range(PREVIOUS_EPOCHS):
        await opened(connects=True)
    await opened(connects=False)
    before, last = await opened(connects=True)
    after, _ = await opened(connects=True)
    assert forgotten(after, watermarks(before, last)) == frozenset()
