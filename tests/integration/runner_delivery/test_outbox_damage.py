"""The outbox after damage and kill -9: what can be saved is, what cannot is reported, and a start is never held up."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aisops_protocol.messages import (
    Event,
    GapReport,
    MessageClass,
    Skip,
)
from aisops_runner.errors import StorageFailed
from aisops_runner.outbox import salvage, store
from aisops_runner.outbox.database import SUSPECT_NAME
from aisops_runner.outbox.outbox import FILE_NAME, Outbox
from tests.support.outbox_rows import bodies, drain, event

pytestmark = pytest.mark.integration


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


def failing_connect(code: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have SQLite refuse with a code the next times that the start opens a file."""
    real, left = salvage.connect, [None] * times

    def connect(path: str) -> sqlite3.Connection:
        if left:
            left.pop()
            error = sqlite3.OperationalError("the disk says no")
            error.sqlite_errorcode = code
            raise error
        return real(path)

    monkeypatch.setattr(salvage, "connect", connect)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC])
async def test_a_disk_that_refuses_at_the_start_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
):
    """Setting the file aside then would cost rows that are safe where they are."""
    outbox = await Outbox.open(tmp_path)
    await outbox.put(event(1))
    journal_id = (await outbox.inventory()).journal_id
    await outbox.close()
    failing_connect(code, 1, monkeypatch)
    with pytest.raises(StorageFailed, match="the disk says no"):
        await Outbox.open(tmp_path)
    assert not names(tmp_path, ".corrupt-")

    again = await Outbox.open(tmp_path)
    assert bodies(await drain(again)) == [event(1)]
    assert (await again.inventory()).journal_id == journal_id
    await again.close()


async def damaged(directory: Path) -> None:
    outbox = await Outbox.open(directory)
    for number in range(40):
        await outbox.put(*[event(number * 10 + n, size=500) for n in range(10)])
    await outbox.close()
    raw = bytearray((directory / FILE_NAME).read_bytes())
    middle = len(raw) // 2 // 4096 * 4096
    raw[middle : middle + 4096] = bytes(4096)
    (directory / FILE_NAME).write_bytes(raw)


async def test_a_salvage_that_the_disk_cuts_short_is_done_again_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    await damaged(tmp_path)
    real = salvage.renew_journal_id

    def full(_connection: sqlite3.Connection) -> None:
        monkeypatch.setattr(salvage, "renew_journal_id", real)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(salvage, "renew_journal_id", full)
    with pytest.raises(StorageFailed, match="full"):
        await Outbox.open(tmp_path)
    again = await Outbox.open(tmp_path)
    assert again.salvaged
    assert sum(isinstance(body, Event) and body.kind.startswith("e") for body in bodies(await drain(again))) > 300
    await again.close()
    assert not names(tmp_path, ".salvaged")


async def test_a_salvage_killed_before_its_last_step_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    await damaged(tmp_path)
    real = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.name.endswith(".salvaged"):
            monkeypatch.setattr(Path, "replace", real)
            raise OSError(5, "the machine went down here")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(StorageFailed, match="went down"):
        await Outbox.open(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    again = await Outbox.open(tmp_path)
    assert sum(isinstance(body, Event) and body.kind.startswith("e") for body in bodies(await drain(again))) > 300
    await again.close()


async def test_a_log_that_cannot_be_folded_costs_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Inside a commit, as SQLite does it by itself, that failure would make a row look refused that is stored."""
    outbox = await Outbox.open(tmp_path)
    monkeypatch.setattr(outbox.database._folding, "folded", raiser(sqlite3.OperationalError("disk I/O error")))
    for number in range(1, 41):
        await outbox.put(event(number))
    assert outbox.database.failures == 0
    assert bodies(await drain(outbox)) == [event(number) for number in range(1, 41)]
    await outbox.close()


def raiser(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def names(directory: Path, part: str) -> list[str]:
    return [one.name for one in directory.iterdir() if part in one.name]
