"""The outbox on a real SQLite file: nothing acknowledged is lost, nothing damaged goes unnoticed."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aisops_protocol.codec import decode_runner_body
from aisops_protocol.messages import (
    Event,
    GapReport,
    Heartbeat,
    JobAccept,
    LogEvent,
    LogLevel,
    MessageClass,
    RunnerBody,
    Skip,
)
from aisops_runner.errors import DataDirUnusable, EnvelopeTooLarge, StorageFailed
from aisops_runner.outbox import store
from aisops_runner.outbox.database import SUSPECT_NAME
from aisops_runner.outbox.outbox import FILE_NAME, Outbox
from aisops_runner.outbox.queue import Bounds

pytestmark = pytest.mark.integration


def event(number: int, size: int = 0) -> Event:
    return Event(f"e{number}", number, b'"' + b"x" * size + b'"')


def log(number: int, level: LogLevel = LogLevel.INFO) -> LogEvent:
    return LogEvent(level, f"line {number} " + "y" * 200, number)


async def drain(outbox: Outbox, after: int | None = None) -> list[tuple[int, RunnerBody]]:
    """Everything in the lane, as Core would get it: no hole is tolerated."""
    cursor = outbox.acked_seq if after is None else after
    found: list[tuple[int, RunnerBody]] = []
    while envelopes := await outbox.take(cursor, 256, 1_000_000):
        for envelope in envelopes:
            body = envelope.body or decode_runner_body(envelope.sealed)
            assert body is not None
            first = body.from_seq if isinstance(body, Skip) else envelope.seq
            assert first == cursor + 1
            cursor = envelope.seq
            found.append((envelope.seq, body))
    return found


def bodies(found: list[tuple[int, RunnerBody]]) -> list[RunnerBody]:
    return [body for _, body in found]


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
    await first.welcomed(b"c" * 16)
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
    await first.welcomed(b"c" * 16)
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
    await outbox._keep_up()
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


async def test_a_damaged_row_is_set_aside_closed_over_and_reported(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.put(*[event(n) for n in range(1, 6)])
    await outbox.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE out SET payload = CAST(payload || x'00' AS BLOB) WHERE seq IN (3, 4)")
    connection.close()

    again = await Outbox.open(tmp_path)
    found = bodies(await drain(again))
    assert found == [
        event(1),
        event(2),
        Skip(3, 4, MessageClass.NEVER_DROPPED, 2),
        event(5),
        GapReport(3, 4, "checksum mismatch"),
    ]
    assert again.stats.quarantined == 2
    await again.close()


async def test_missing_rows_are_closed_over_and_reported(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.put(*[event(n) for n in range(1, 6)])
    await outbox.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("DELETE FROM out WHERE seq IN (2, 3)")
    connection.close()

    again = await Outbox.open(tmp_path)
    found = bodies(await drain(again))
    assert found[1] == Skip(2, 3, MessageClass.NEVER_DROPPED, 2)
    assert isinstance(found[-1], GapReport)
    await again.close()


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


@pytest.mark.parametrize("damage", ["zeroed header", "truncated", "garbage", "zeroed middle"])
async def test_a_damaged_file_is_set_aside_salvaged_and_reported(tmp_path: Path, damage: str):
    outbox = await Outbox.open(tmp_path)
    for number in range(40):
        await outbox.put(*[event(number * 10 + n, size=500) for n in range(10)])
    journal_id = (await outbox.inventory()).journal_id
    await outbox.close()
    path = tmp_path / FILE_NAME
    raw = bytearray(path.read_bytes())
    if damage == "zeroed header":
        raw[:100] = bytes(100)
    elif damage == "truncated":
        raw = raw[: len(raw) // 2]
    elif damage == "garbage":
        raw = bytearray(os.urandom(len(raw)))
    else:
        middle = len(raw) // 2 // 4096 * 4096
        raw[middle : middle + 8192] = bytes(8192)
    path.write_bytes(raw)

    again = await Outbox.open(tmp_path, stamp="now")
    found = bodies(await drain(again))
    assert (tmp_path / f"{FILE_NAME}.corrupt-now").exists()
    assert any(isinstance(body, Event) and body.kind == "outbox.salvaged" for body in found)
    assert (await again.inventory()).journal_id != journal_id
    if damage == "zeroed middle":
        assert sum(isinstance(body, Event) and body.kind.startswith("e") for body in found) > 300
        assert any(isinstance(body, GapReport) for body in found)
    else:
        assert any(isinstance(body, GapReport) for body in found)
    await again.close()
    await (await Outbox.open(tmp_path)).close()


async def test_rows_that_vanished_with_the_log_are_noticed(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.put(*[event(n) for n in range(1, 11)])
    await outbox.close()
    kept = (tmp_path / FILE_NAME).read_bytes()
    later = await Outbox.open(tmp_path)
    await later.put(*[event(n) for n in range(11, 21)])
    journal_id = (await later.inventory()).journal_id
    await later.close()
    (tmp_path / FILE_NAME).write_bytes(kept)

    again = await Outbox.open(tmp_path)
    found = bodies(await drain(again))
    assert found[-1] == GapReport(11, 20, "rows vanished from the outbox file")
    assert (await again.inventory()).journal_id != journal_id
    await again.close()


async def test_damage_found_while_running_makes_the_next_start_check_everything(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.put(event(1))

    def broken(connection):
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    with pytest.raises(StorageFailed):
        await outbox.database.read(broken)
    assert (tmp_path / SUSPECT_NAME).exists()
    await outbox.close()

    again = await Outbox.open(tmp_path)
    assert not (tmp_path / SUSPECT_NAME).exists()
    assert bodies(await drain(again)) == [event(1)]
    await again.close()


_WRITER = """
import asyncio, sys
from pathlib import Path
from aisops_protocol.messages import Event
from aisops_runner.outbox.outbox import Outbox

async def main() -> None:
    outbox = await Outbox.open(Path(sys.argv[1]))
    async def write(lane: int) -> None:
        number = 0
        while True:
            await outbox.put(Event(f"{lane}.{number}", 1, b"{}"))
            print(f"{lane}.{number}", flush=True)
            number += 1
    await asyncio.gather(*[write(lane) for lane in range(8)])

asyncio.run(main())
"""


def start_writer(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _WRITER, str(directory)], stdout=subprocess.PIPE, text=True)


async def test_every_row_acknowledged_before_kill_9_is_there(tmp_path: Path):
    said: set[str] = set()
    for lines in (50, 400, 1500):
        writer = await asyncio.to_thread(start_writer, tmp_path)
        assert writer.stdout is not None
        for _ in range(lines):
            said.add(f"{lines}:" + writer.stdout.readline().strip())
        writer.send_signal(signal.SIGKILL)
        said |= {f"{lines}:" + line.strip() for line in writer.stdout if line.endswith("\n")}
        writer.wait()
        writer.stdout.close()

        outbox = await Outbox.open(tmp_path)
        stored = {f"{lines}:" + body.kind for body in bodies(await drain(outbox)) if isinstance(body, Event)}
        assert {one for one in said if one.startswith(f"{lines}:")} <= stored
        outbox.ack(outbox.last_seq)
        await outbox.close()


async def test_a_long_backlog_does_not_delay_a_start(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)

    def many(connection: sqlite3.Connection) -> None:
        one = store.draft(event(1))
        store.append(connection, [one] * 100_000)

    await outbox.database.write(many)
    await outbox.close()

    started = asyncio.get_running_loop().time()
    again = await Outbox.open(tmp_path)
    assert asyncio.get_running_loop().time() - started < 2.0
    assert again.stats.messages == 100_000
    assert (await again.take(99_990, 256, 1_000_000))[0].seq == 99_991
    await again.close()
