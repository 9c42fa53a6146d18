"""F15: the disk answers writes and syncs with I/O errors, now and then."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from demo.program import get_json
from demo.stage import Stage
from tests.chaos.fault import Fault, tool
from tests.chaos.faults.kills import LOAD
from tests.chaos.injection.failing_disk import SYNC, WRITE, FailingDisk, failing
from tests.chaos.network import until
from tests.chaos.subjects.outbox_promises import Promises, examine
from tests.chaos.tally import Counts
from tests.chaos.trial import Trial

ROWS = {"short": 2000, "full": 20_000}
LASTING_S = 3.0
BACK_S = 30.0
TYPED = frozenset({"storage_failed", "data_dir_unusable"})
CHANCES: tuple[Mapping[str, float], ...] = ({SYNC: 0.05}, {SYNC: 0.05, WRITE: 0.02}, {SYNC: 0.5}, {WRITE: 0.03})


async def disk_errors(trial: Trial) -> None:
    """First the outbox alone, where every report can be held against the file; then both programs at work."""
    alone = trial.runs // 2
    refused = 0
    for number in range(alone):
        refused += await _write_rows(trial, number, CHANCES[number % len(CHANCES)])
    await _at_work(trial, trial.runs - alone)
    trial.figures["rows refused"] = refused
    trial.check(refused, "no row was refused: nothing was injected")


async def _write_rows(trial: Trial, number: int, chances: Mapping[str, float]) -> int:
    """Rows reported as stored are there, rows refused are not; returns how many were refused."""
    home = trial.home / f"outbox-{number}"
    home.mkdir()
    folder, words = home / "data", home / "words"
    rows = ROWS["full" if trial.full else "short"]
    program = (sys.executable, "-m", "tests.chaos.subjects.outbox_writer", folder, words, str(rows), "--lag", "500")
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*failing(program, chances), stdout=log, stderr=log)
        code = await process.wait()
    promises = Promises.of([await asyncio.to_thread(words.read_bytes)])
    account = await examine(folder)
    refused, lost = sum(promises.failed.values()), account.lost(promises)
    unpromised = [seq for seq in account.unpromised(promises) if seq > promises.gone]
    kept = len(promises.kept)
    trial.counts += Counts(attempted=kept + refused, acknowledged=kept, lost=len(lost), unexpected=len(unpromised))
    trial.check(code == 0, f"the writing program ended with {code}")
    trial.check(not lost, f"{chances}: rows reported as stored are gone: {lost[:5]}")
    trial.check(not unpromised, f"{chances}: rows refused are there: {unpromised[:5]}")
    trial.check(set(promises.failed) <= TYPED, f"refused with {sorted(promises.failed)}")
    trial.check(account.integrity == "ok", f"{chances}: integrity: {account.integrity}")
    trial.step("outbox alone")
    return refused


async def _at_work(trial: Trial, times: int) -> None:
    """The disk of one program fails under load and heals; the program lives and is itself again."""
    disks = {name: FailingDisk(trial.home / name) for name in ("runner", "core")}

    def prepare(stage: Stage) -> None:
        for name, disk in disks.items():
            (trial.home / name).mkdir()
            program = getattr(stage, name)
            program.command = disk.under(program.command)

    async with trial.stage(prepare=prepare) as stage, trial.under_load(stage) as load:
        await load.acknowledged(20)
        pids = {name: getattr(stage, name).pid for name in disks}
        for turn in range(times):
            name, chances = ("core", "runner")[turn % 2], CHANCES[turn // 2 % len(CHANCES)]
            disk, pid = disks[name], pids[name]
            await asyncio.to_thread(disk.fail, pid, chances)
            await asyncio.sleep(LASTING_S)
            await asyncio.to_thread(disk.heal, pid, chances)
            await until(lambda: _well(stage), f"everything being well after errors of {name}'s disk", BACK_S)
            trial.step(f"disk of {name}")
        now = {name: getattr(stage, name).pid for name in disks if getattr(stage, name).running()}
        trial.check(now == pids, "a program has ended")


def _well(stage: Stage) -> bool:
    """Core is ready and the Runner connected."""
    return get_json(f"{stage.url}/readyz") is not None and stage.connected_runner() is not None


FAULTS = (
    Fault(
        "F15",
        "I/O errors",
        "fdatasync and pwrite fail with EIO by chance (2 % to 50 %), at the start too.",
        f"2,000 rows into the outbox alone; {LOAD}",
        "what was reported as stored is there, what was refused is not; typed errors; both programs live and recover",
        disk_errors,
        short=8,
        full=20,
        unit="runs",
        needs=(tool("fiu-run", "fiu-utils"),),
    ),
)
