"""F16: the outbox's files are damaged while the Runner is down; it starts all the same, and misses nothing silently."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
from pathlib import Path

from aisops_runner.errors import RunnerError
from aisops_runner.outbox import highwater
from aisops_runner.outbox.opening import HIGHWATER_NAME
from aisops_runner.outbox.outbox import BALLAST_NAME, FILE_NAME
from demo.program import wait_until
from tests.chaos.fault import Fault
from tests.chaos.injection.damage import DAMAGES
from tests.chaos.subjects.outbox_promises import Account, Promises, examine
from tests.chaos.tally import Counts
from tests.chaos.trial import Trial

ROWS, LAG = 1400, 1200
FILES = (FILE_NAME, f"{FILE_NAME}-wal")


async def damaged_files(trial: Trial) -> None:
    """Each kind of damage to each file in turn, always on a fresh copy of the same folder."""
    folder, promises = await _fill(trial)
    salvages = reported = 0
    kinds = itertools.cycle(itertools.product(FILES, DAMAGES))
    for number, (name, kind) in enumerate(itertools.islice(kinds, trial.runs)):
        copy = trial.home / f"copy-{number}"
        await asyncio.to_thread(shutil.copytree, folder, copy)
        did = await asyncio.to_thread(DAMAGES[kind], copy / name, trial.rng)
        where = f"{name}: {did}"
        try:
            account = await examine(copy)
        except (RunnerError, AssertionError, ValueError, OSError) as error:
            trial.counts += Counts(attempted=len(promises.binding), unexpected=1)
            trial.problems.append(f"{where}: does not start: {type(error).__name__}: {error}")
        else:
            salvages += account.salvaged
            reported += len(account.reported & set(promises.binding))
            _judge(trial, where, account, promises)
        await asyncio.to_thread(shutil.rmtree, copy)
        trial.step(where)
    trial.figures |= {"rows in the files": len(promises.binding), "starts with salvage": salvages}
    trial.figures |= {"rows reported as lost, in all starts": reported}


def _judge(trial: Trial, where: str, account: Account, promises: Promises) -> None:
    """A row that is not as it was must have been reported; that is all that damage may cost."""
    unnoticed, stray = account.unnoticed(promises), account.stray(promises)
    binding = len(promises.binding)
    trial.counts += Counts(
        attempted=binding,
        acknowledged=binding,
        lost=len(unnoticed),
        unexpected=len(stray),
        recovered=binding - len(account.lost(promises)) if account.salvaged else 0,
    )
    if unnoticed:
        trial.problems.append(f"{where}: {len(unnoticed)} rows gone and nobody told, the first {unnoticed[0]}")
    if stray:
        trial.problems.append(f"{where}: {len(stray)} rows hold something else, the first {stray[0]}")


async def _fill(trial: Trial) -> tuple[Path, Promises]:
    """A folder as a killed Runner leaves it: rows in the file and in its log; on record how far the lane had got."""
    folder, words = trial.home / "data", trial.home / "words"
    program = (
        "-m",
        "tests.chaos.subjects.outbox_writer",
        str(folder),
        str(words),
        str(ROWS),
        "--lag",
        str(LAG),
        "--stay",
    )
    process = await asyncio.create_subprocess_exec(sys.executable, *program)

    def settled() -> bool:
        promises = Promises.of([words.read_bytes()]) if words.exists() else Promises({})
        return len(promises.kept) == ROWS and highwater.load(folder / HIGHWATER_NAME) >= max(promises.kept)

    try:
        await asyncio.to_thread(wait_until, settled, "the lane's state on record")
    finally:
        process.kill()
        await process.wait()
    for name in (BALLAST_NAME, f"{FILE_NAME}-shm"):
        (folder / name).unlink(missing_ok=True)
    return folder, Promises.of([await asyncio.to_thread(words.read_bytes)])


FAULTS = (
    Fault(
        "F16",
        "damaged files",
        "Before a start, a bit of the outbox's file or its log is turned over, a page made zeros, or the end cut off.",
        "1,200 rows, partly in the file and partly in its log",
        "starts every time; no row comes back as another; every row that is gone is reported",
        damaged_files,
        short=120,
        full=1800,
        unit="damages",
    ),
)
