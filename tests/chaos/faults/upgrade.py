"""F25: versions that differ: older and newer peers over a full queue, older databases, newer ones refused."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_engine, insert, select

from aisops_core.storage.migrate import run_migrations
from aisops_runner.control.client import ask
from aisops_runner.errors import RunnerError
from demo.program import Program, wait_until
from demo.stage import Stage
from tests.chaos import oracle, skew
from tests.chaos.fault import Fault
from tests.chaos.load import Load
from tests.chaos.relay import Relay, relayed
from tests.chaos.trial import Trial
from tests.chaos.witness import CAPABILITY

REFUSED = 78
QUEUED_JOBS, LINES = 6, 300
VERSIONS = ("older", "newer", "same")


def talkative_job(key: str, number: int) -> dict[str, Any]:
    """A job that fills the queue with log lines."""
    return {"capability": CAPABILITY, "input": {"text": key, "sleep_s": 0.8, "lines": LINES}}


def speak(relay: Relay, version: str, trial: Trial) -> None:
    """Let each end take the other for a program of this version."""
    chance = trial.rng
    match version:
        case "older":
            relay.up, relay.down = skew.older(skew.UP), skew.older(skew.DOWN)
        case "newer":
            relay.up, relay.down = skew.newer(skew.UP, chance), skew.newer(skew.DOWN, chance)
        case _:
            relay.up = relay.down = bytes


def depth(stage: Stage) -> int:
    """How many messages wait in the Runner's outbox."""
    return int(ask(stage.home / "runner", "status")["outbox"]["messages"])


async def fill(trial: Trial, stage: Stage, relay: Relay, load: Load) -> int:
    """Cut the line with talkative jobs under way; the depth of the queue once they are done."""
    await load.burst(QUEUED_JOBS)
    await asyncio.sleep(trial.rng.uniform(0.1, 0.4))
    relay.closed = True
    relay.cut()
    await asyncio.sleep(2.0)
    return await asyncio.to_thread(depth, stage)


def drained(stage: Stage) -> None:
    """Wait until the Runner is connected and its outbox is empty."""

    def empty() -> bool:
        try:
            status = ask(stage.home / "runner", "status")
        except RunnerError:
            return False
        return bool(status["core"]["state"] == "connected" and status["outbox"]["messages"] == 0)

    stage.runner.wait_for(lambda: empty() or None, "the outbox being empty", 60)


async def change_versions(trial: Trial) -> None:
    """Under load, let each end meet older, newer and equal peers in turn; then the databases."""
    deepest = 0
    async with relayed(trial) as (stage, relay):
        async with trial.under_load(stage, rate=5.0) as load:
            talk = trial.load(stage, mix=(talkative_job,))
            await load.acknowledged(3)
            for turn in range(trial.runs):
                deepest = max(deepest, await fill(trial, stage, relay, talk))
                speak(relay, VERSIONS[turn % len(VERSIONS)], trial)
                relay.closed = False
                if trial.rng.random() < 0.5:
                    await asyncio.to_thread(stage.runner.kill)
                    await asyncio.to_thread(stage.runner.start)
                await asyncio.to_thread(drained, stage)
                trial.step(VERSIONS[turn % len(VERSIONS)])
            speak(relay, "same", trial)
            trial.figures["core revisions"] = await older_database(stage, load)
        await oracle.settle(stage, talk, trial.tally)
        await asyncio.to_thread(refuse_newer, trial, stage)
    trial.figures["deepest queue"] = deepest
    trial.check(deepest > LINES, f"the queue never held more than {deepest} messages")


async def older_database(stage: Stage, load: Load) -> str:
    """Put Core's rows, jobs that wait included, into the schema before this one, and let Core migrate them."""
    stage.runner.kill()
    await load.burst(10)
    await asyncio.to_thread(stage.core.stop)
    steps = await asyncio.to_thread(set_back, stage.home / "core" / "core.sqlite")
    await asyncio.to_thread(stage.start_core)
    await asyncio.to_thread(stage.start_runner)
    return steps


def set_back(path: Path) -> str:
    """Replace a database of this version by one of the version before with the same rows; what was done, in words."""
    revisions = core_revisions()
    if len(revisions) < 2:
        return f"{revisions[0]} only"
    older = path.with_suffix(".older")
    engine = create_engine(f"sqlite:///{older}")
    with engine.begin() as connection:
        run_migrations(connection, revisions[-2])
    known = MetaData()
    known.reflect(engine)
    current = create_engine(f"sqlite:///{path}")
    now = MetaData()
    now.reflect(current)
    with engine.begin() as target, current.connect() as source:
        for table in known.sorted_tables:
            if table.name == "alembic_version" or table.name not in now.tables:
                continue
            columns = [column.name for column in table.columns if column.name in now.tables[table.name].columns]
            rows = source.execute(select(*(now.tables[table.name].c[name] for name in columns)))
            if found := [dict(zip(columns, row, strict=True)) for row in rows]:
                target.execute(insert(table), found)
    for one in (engine, current):
        one.dispose()
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    older.replace(path)
    return f"{revisions[-2]} to {revisions[-1]}"


def core_revisions() -> list[str]:
    """Core's revisions, oldest first."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "aisops_core.storage:migrations")
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def refuse_newer(trial: Trial, stage: Stage) -> None:
    """A downgrade: each program refuses a database of a later version, and changes nothing in it."""
    stage.runner.stop()
    stage.core.stop()
    later = (
        (stage.core, stage.home / "core" / "core.sqlite", "UPDATE alembic_version SET version_num = '9999'"),
        (stage.runner, stage.home / "runner" / "outbox.db", "PRAGMA user_version = 9999"),
    )
    for program, path, statement in later:
        kept = shutil.copy(path, path.with_suffix(".kept"))
        with closing(sqlite3.connect(path)) as database:
            database.execute(statement)
            database.commit()
        before = path.read_bytes()
        trial.check(_exit_code(program) == REFUSED, f"{program.name} did not refuse a later database")
        trial.check(path.read_bytes() == before, f"{program.name} changed a later database")
        shutil.move(kept, path)
    stage.start_core()
    stage.start_runner()


def _exit_code(program: Program) -> int:
    program.start()
    try:
        wait_until(lambda: not program.running() or None, f"{program.name} refusing", 20)
    finally:
        program.kill()
    return program.process.returncode if program.process is not None else 0


FAULTS = (
    Fault(
        "F25",
        "versions that differ",
        "Older and newer peers (recorded descriptor; unknown fields and messages) on a full queue; Core's rows in its "
        "schema before; databases of a later version.",
        "5 jobs/s, 1,800 log lines queued before each change",
        "lost 0, duplicated 0; what is unknown is ignored; later databases are refused with exit code 78, unchanged",
        change_versions,
        short=6,
        full=20,
        unit="changes",
    ),
)
