"""A disk that refuses: a start ends with a code that supervisors try again, a stop ends in time, names stay put."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from aisops_protocol.messages import JobResult, ResultStatus
from aisops_runner import disk
from aisops_runner.adapters.index import Index
from aisops_runner.errors import StorageFailed
from aisops_runner.outbox import ballast as ballast_module
from aisops_runner.outbox import highwater
from aisops_runner.outbox.outbox import BALLAST_NAME, FILE_NAME, Outbox
from tests.chaos.fault import ROOT, tool
from tests.chaos.injection.failing_disk import SYNC, failing
from tests.chaos.injection.private_world import in_private_world, mount_small_disk
from tests.chaos.network import until
from tests.integration.runner_delivery.test_kill import job, start_runner
from tests.support.core_end import CoreEnd, core_end
from tests.support.outbox_rows import event

pytestmark = pytest.mark.integration

STOP_S = 60.0
PATIENCE_S = 30.0
NO_FIU = tool("fiu-run", "fiu-utils").missing()
MISSING = "; ".join(filter(None, (need.missing() for need in (ROOT, tool("mount")))))


def begin(directory: Path, **limits: int) -> subprocess.CompletedProcess[str]:
    """Start a Runner that must not come up; with `fsize`, no file may grow beyond so many octets."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AISOPS", "CORE_"))}
    env |= {
        "CORE_GRPC_ENDPOINT": "http://127.0.0.1:9",
        "CORE_RUNNER_AUTH_TOKEN": "aisops_run_test_secretsecret",
        "AISOPS_RUNNER_DATA_DIR": str(directory),
    }

    def limit() -> None:
        if "fsize" in limits:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limits["fsize"], limits["fsize"]))

    return subprocess.run(
        [sys.executable, "-m", "aisops_runner", "run"],
        env=env,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_disk_that_takes_nothing_at_the_start_is_worth_another_try(tmp_path: Path) -> None:
    done = begin(tmp_path / "data", fsize=4096)
    assert done.returncode == 1, done.stderr
    assert "start the Runner again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_directory_that_cannot_be_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = begin(tmp_path / "file" / "data")
    assert done.returncode == 78, done.stderr
    assert "name another" in done.stderr


@pytest.mark.parametrize("what", ["the high-water record", "the plugin index"])
def test_a_file_put_in_anothers_place_is_there_after_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The folder is synced after the new name is in it: else a power cut may bring the old file back."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen: list[bytes] = []
    real = os.fsync

    def note(handle: int) -> None:
        if os.path.samestat(os.fstat(handle), tmp_path.stat()):
            seen.append(path.read_bytes())
        real(handle)

    monkeypatch.setattr(os, "fsync", note)
    if what == "the high-water record":
        highwater.save(path, 7, bytes(16))
    else:
        Index(path, made_by="test").save()
    assert seen == [path.read_bytes()] != [b"old"]


def test_a_name_that_cannot_be_synced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "draft").touch()
    with pytest.raises(OSError, match="Input/output"):
        disk.replace(tmp_path / "draft", tmp_path / "file")


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
async def test_a_runner_whose_disk_stays_full_stops_in_time_and_says_what_it_could_not_store(tmp_path: Path) -> None:
    await in_private_world(partial(_stop_on_a_full_disk, tmp_path))


async def _stop_on_a_full_disk(home: Path) -> None:
    mount_small_disk(home / "data", 6 * 1024 * 1024)  # too small for a reserve
    effects: Counter[str] = Counter()
    may_answer = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        effects[request.match_info["name"]] += 1
        await may_answer.wait()
        return web.json_response({"large": "x" * 200_000})  # more than is free inside the file and its log

    app = web.Application()
    app.router.add_post("/do/{name}", handle)
    provider = web.AppRunner(app)
    await provider.setup()
    await web.TCPSite(provider, "127.0.0.1", 0).start()
    port = provider.addresses[0][1]
    names = [f"j{number}" for number in range(3)]
    async with core_end() as core:
        log = await _fill_and_stop(home, core, port, names, effects, may_answer)
        assert "stopping although the disk refuses" in log["event"]
        assert log["jobs"] == names
        assert not core.of(JobResult)

        process = await start_runner(home, core, port)
        await core.until(lambda: len(core.of(JobResult)) == len(names), timeout_s=60)
        assert {result.job_id for result in core.of(JobResult)} == set(names)
        assert {result.status for result in core.of(JobResult)} == {ResultStatus.UNCERTAIN}
        assert set(effects.values()) == {1}
        await _stopped(process)
    await provider.cleanup()


async def _fill_and_stop(
    home: Path, core: CoreEnd, port: int, names: list[str], effects: Counter[str], may_answer: asyncio.Event
) -> dict[str, object]:
    """Let jobs end on a disk without room, stop the Runner, and return what it said of that."""
    process = await start_runner(home, core, port, log=home / "runner.log")
    await core.until(lambda: bool(core.hellos), timeout_s=60)
    core.dispatch(*[job(name, port) for name in names])
    await until(lambda: len(effects) == len(names), "the calls under way", PATIENCE_S)
    filler = home / "data" / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    may_answer.set()
    log = home / "runner.log"
    await until(lambda: "jobs cannot be stored" in log.read_text(), "results that the disk refuses", PATIENCE_S)
    await _stopped(process)
    filler.unlink()
    said = [json.loads(line) for line in log.read_text().splitlines() if "stopping although" in line]
    return said[0] if said else {}


async def _stopped(process: asyncio.subprocess.Process) -> None:
    """Ask the Runner to stop, and see that it does."""
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
async def test_on_a_full_disk_the_reserve_takes_the_results_and_is_taken_again_when_there_is_room(
    tmp_path: Path,
) -> None:
    await in_private_world(partial(_use_the_reserve, tmp_path / "data"))


async def _use_the_reserve(directory: Path) -> None:
    mount_small_disk(directory, 24 * 1024 * 1024)
    outbox = await Outbox.open(directory)
    reserve = directory / BALLAST_NAME
    assert reserve.stat().st_blocks * 512 >= ballast_module.LEAST_BYTES, "it is room, not a hole"
    filler = directory / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    stored = 0
    while reserve.exists():
        await outbox.put(event(stored, size=50_000))  # each of them is stored: none may be refused while there is room
        stored += 1
    await outbox.put(event(stored, size=50_000))
    assert os.statvfs(directory).f_bavail > 0
    assert [row.seq for row in await outbox.take(0, 10_000, 1 << 30)] == list(range(1, stored + 2))

    outbox.ack(outbox.last_seq)
    await until(lambda: outbox.stats.messages == 0, "rows deleted on a disk without its reserve", PATIENCE_S)
    assert not reserve.exists()
    filler.unlink()
    await outbox.put(event(0))
    await until(reserve.exists, "the reserve being taken again", PATIENCE_S)
    await outbox.close()


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
async def test_what_the_log_grew_to_on_full_disks_goes_back_to_the_disk(tmp_path: Path) -> None:
    """It had kept a little more of a small disk each time, until there was no room to fold it: for ever refused."""
    await in_private_world(partial(_fill_again_and_again, tmp_path / "data"))


async def _fill_again_and_again(directory: Path) -> None:
    mount_small_disk(directory, 4 * 1024 * 1024)  # too small for a reserve
    outbox = await Outbox.open(directory)
    log, filler = directory / f"{FILE_NAME}-wal", directory / "filler"
    numbers = itertools.count(1)

    async def until_refused() -> None:
        for number in numbers:
            await outbox.put(event(number, size=2000))

    for _ in range(6):
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(StorageFailed):
            await until_refused()
        filler.unlink()
        for number in itertools.islice(numbers, 60):
            await outbox.put(event(number, size=2000))
            outbox.ack(outbox.last_seq)
    assert log.stat().st_size < 512 * 1024
    await outbox.close()


_OPENINGS = """
import sqlite3, sys
from pathlib import Path
from aisops_runner.outbox import schema
opened = without_log = 0
for number in range(80):
    path = Path(sys.argv[1]) / f"{number}.db"
    try:
        connection = schema.connect(str(path))
    except sqlite3.Error:
        continue
    opened += 1
    without_log += path.read_bytes()[18:20] != bytes([2, 2])  # the file format's mark of a write-ahead log
    connection.close()
print(opened, without_log)
"""


@pytest.mark.skipif(bool(NO_FIU), reason=NO_FIU)
async def test_an_outbox_is_opened_with_its_log_or_not_at_all(tmp_path: Path) -> None:
    """Without the log that the reader holds open, rows that were refused came back with the writer's next handle."""
    command = failing((sys.executable, "-c", _OPENINGS, str(tmp_path)), {SYNC: 0.5})
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    opened, without_log = map(int, said.split())
    assert 0 < opened < 80
    assert without_log == 0
