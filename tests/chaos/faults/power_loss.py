"""F13: the power fails at any moment; what the Runner's outbox and Core's database had promised is still there.

Every write and sync of the real programs is recorded under load. Then the disk is rebuilt as it may look after a cut at
some point of the recording, and the product's own code opens it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from aisops_core.storage.engine import Store
from aisops_core.storage.migrate import upgrade
from demo.program import wait_until
from demo.stage import Stage
from tests.chaos.fault import Fault, tool
from tests.chaos.injection.power import Loss, cuts
from tests.chaos.injection.trace import TraceEvent, complete, read_trace, traced
from tests.chaos.subjects.outbox_promises import Promises, examine
from tests.chaos.tally import Counts
from tests.chaos.trial import Trial

ROWS = {"short": 1500, "full": 8000}
JOBS = {"short": 150, "full": 1000}
_STATE = re.compile(rb'"id": ?"(job_\w+)","capability": ?"[^"]*","state": ?"(\w+)"')
_ENDED = frozenset({"succeeded", "failed", "timed_out", "cancelled", "uncertain"})


@dataclass(frozen=True, slots=True)
class Found:
    """One rebuilt disk: how many things had been promised, what of them is missing, and what else is wrong."""

    promised: int
    lost: Sequence[str]
    wrong: Sequence[str]


Examine = Callable[[Path, Collection[bytes]], Awaitable[Found]]


async def power_loss(trial: Trial) -> None:
    """Both halves, each with the same number of cuts."""
    points = trial.runs // (2 * len(Loss))
    events = await record_outbox(trial, {**os.environ, **trial.environment})
    await replay(trial, "outbox", events, examine_outbox, points)
    events = await record_core(trial)
    await replay(trial, "core", events, examine_core, points)


async def replay(trial: Trial, name: str, events: Sequence[TraceEvent], look: Examine, points: int) -> None:
    """Cut the power at so many points of a recording, lose writes in every way, and look at what is left."""
    lost: Counter[Loss] = Counter()
    chosen = trial.rng.sample(range(1, len(events) + 1), points)
    folder = trial.home / "after"
    for cut in cuts(events, chosen, trial.rng):
        await asyncio.to_thread(cut.write_to, folder)
        where = f"{name} cut after {cut.at} of {len(events)} events, {cut.loss.value}"
        try:
            found = await look(folder, cut.said)
        except Exception as error:  # noqa: BLE001 - a start that fails is what this looks for
            found = Found(0, (), (f"does not start: {type(error).__name__}: {error}",))
        await asyncio.to_thread(shutil.rmtree, folder)
        trial.counts += Counts(
            attempted=found.promised, acknowledged=found.promised, lost=len(found.lost), unexpected=len(found.wrong)
        )
        lost[cut.loss] += len(found.lost)
        for words in (*found.lost, *found.wrong)[: max(0, 5 - len(trial.problems))]:
            trial.problems.append(f"{where}: {words}")
        trial.step(where)
    trial.figures[f"{name}: events recorded"] = len(events)
    if lost.total():
        trial.figures[f"{name}: lost"] = ", ".join(f"{loss.value} {count}" for loss, count in lost.items())


# --- the Runner's outbox ----------------------------------------------------------------------------------------------


async def record_outbox(trial: Trial, environment: Mapping[str, str] | None = None) -> list[TraceEvent]:
    """Everything the outbox does to the disk while eight lanes write to it and rows are acknowledged and deleted."""
    home = trial.home / "outbox"
    folder, words, trace = home / "data", home / "words", home / "trace"
    folder.mkdir(parents=True)
    rows = ROWS["full" if trial.full else "short"]
    program = (sys.executable, "-m", "tests.chaos.subjects.outbox_writer", folder, words, str(rows))
    process = await asyncio.create_subprocess_exec(*traced(program, trace), env=environment)
    code = await process.wait()
    trial.check(code == 0, f"the writing program ended with {code}")
    return await _read(trace, process.pid, folder, words)


async def examine_outbox(folder: Path, said: Collection[bytes]) -> Found:
    """Start as a Runner does, and compare."""
    promises = Promises.of(said)
    account = await examine(folder)
    wrong = [f"row {seq} holds another row" for seq in account.stray(promises)]
    if promises.kept:  # before that the file itself may not have been whole
        wrong += [f"integrity: {account.integrity}"] if account.integrity != "ok" else []
        wrong += ["the file was set aside as damaged"] if account.salvaged else []
    lost = [f"row {seq} ({promises.kept[seq]}) is gone" for seq in account.lost(promises)]
    return Found(len(promises.binding), lost, wrong)


# --- Core's database --------------------------------------------------------------------------------------------------


async def record_core(trial: Trial, environment: Mapping[str, str] | None = None) -> list[TraceEvent]:
    """Everything Core does to its disk while jobs are submitted, done and read back; its answers are its promises."""
    trace = trial.home / "core.trace"

    def prepare(stage: Stage) -> None:
        stage.core.command = traced(stage.core.command, trace)

    async with trial.stage("recorded", core_environment=environment, prepare=prepare) as stage:
        pid = stage.core.pid
        load = trial.load(stage)
        await load.burst(JOBS["full" if trial.full else "short"], at_once=16)
        await load.read_back()
        folder = stage.home / "core"
    trial.tally = type(trial.tally)()  # this load only made the recording; what is counted are promises on each disk
    return await _read(trace, pid, folder, None)


async def examine_core(folder: Path, said: Collection[bytes]) -> Found:
    """Open as Core does, and compare with the last that it told about each job."""
    told: dict[str, str] = {}
    for answer in said:
        for job_id, state in _STATE.findall(answer):
            told[job_id.decode()] = state.decode()
    url = f"sqlite:///{folder / 'core.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    store = Store(url)
    await store.open()
    try:
        stored: dict[str, str] = await store.read(lambda database: dict(database.execute(_JOBS).tuples().all()))
        integrity = await store.read(lambda database: database.exec_driver_sql("PRAGMA integrity_check").scalar())
    finally:
        await store.close()
    lost = [
        f"{job_id} was told as {state} and is {stored.get(job_id, 'gone')}"
        for job_id, state in told.items()
        if job_id not in stored or (state in _ENDED and stored[job_id] != state)
    ]
    return Found(len(told), lost, [] if integrity == "ok" else [f"integrity: {integrity}"])


_JOBS = text("SELECT job_id, state FROM jobs")


async def _read(trace: Path, pid: int, folder: Path, words: Path | None) -> list[TraceEvent]:
    await asyncio.to_thread(wait_until, lambda: complete(trace, pid), "the end of the recording")
    events = await asyncio.to_thread(read_trace, trace, folder, words)
    await asyncio.to_thread(trace.unlink)
    return events


FAULTS = (
    Fault(
        "F13",
        "power loss",
        "The power is cut at a random point of a recording of every write and sync; what was not synced is lost, kept "
        "in part, torn at 512 octets, or kept although earlier writes are lost.",
        "the outbox written by eight lanes; Core with jobs submitted, done and read back",
        "nothing promised is lost, the files are whole, both start",
        power_loss,
        short=480,
        full=8000,
        unit="cuts",
        needs=(tool("strace"),),
    ),
)
