"""F21 and F22: a thousand Runners that come back at once, and a hundred that never read what Core sends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from bench.authority import make_authority
from bench.fleets import FleetProcess
from demo.program import Program
from demo.stage import BIN, Stage
from tests.chaos import processes
from tests.chaos.fault import Fault
from tests.chaos.faults.kills import LOAD
from tests.chaos.network import streams, until
from tests.chaos.subjects.stuck_readers import CAPABILITY, SLOTS
from tests.chaos.tally import Counts
from tests.chaos.trial import Trial

CROWD, STUCK = 1000, 100
RETURN_S = 10.0
RESTART_S = 30.0
CORE_KIB = 250 * 1024
UNREAD_S, FROZEN_S = 45.0, 50.0
"""Core gives up a write after 30 s (jobs are written again after 10 s) and a Runner after 45 s of silence."""
GROWTH_KIB = 20 * 1024
INPUT_CHARS = 16_000


# --- F21 --------------------------------------------------------------------------------------------------------------


async def all_at_once(trial: Trial) -> None:
    """A crowd over mTLS loses every connection and dials again in the same moment; once because Core was killed."""
    authority = await asyncio.to_thread(make_authority, trial.home / "tls")
    data = trial.home / "core"
    tokens = await _provision(data)
    core = Program(
        "core",
        [
            BIN / "aisops-core", "serve", "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
            *authority.core_options,
        ],
        trial.home / "core.log",
    )  # fmt: skip
    try:
        port = await asyncio.to_thread(_start, core, data, "127.0.0.1:0")
        fleet = FleetProcess(f"127.0.0.1:{port}", authority, tokens, trial.home / "fleet.log")
        try:
            await _come_and_go(trial, core, data, port, fleet)
        finally:
            await asyncio.to_thread(fleet.kill)
    finally:
        await asyncio.to_thread(core.stop)


async def _come_and_go(trial: Trial, core: Program, data: Path, port: int, fleet: FleetProcess) -> None:
    await _ask(fleet, "connect 1")
    took: list[float] = []
    for turn in range(trial.runs):
        if turn % 3 == 1:
            core.kill()
            began = time.monotonic()
            await asyncio.to_thread(_start, core, data, f"127.0.0.1:{port}")
            figures = await _until_all_are_back(fleet, began + RESTART_S)
            trial.figures["all back after a kill of Core, s"] = round(time.monotonic() - began, 1)
        else:
            await _ask(fleet, "drop")
            figures = await _ask(fleet, "connect 0")
            took.append(figures["all_s"])
            errors = {name: times for name, times in figures["count"].items() if name.startswith("lost: ")}
            trial.check(not errors, f"connections were refused: {errors}")
        back = figures["open"]
        trial.counts += Counts(attempted=CROWD, acknowledged=back, lost=CROWD - back)
        trial.check(back == CROWD, f"{CROWD - back} Runners have not come back")
        trial.step("Core killed" if turn % 3 == 1 else f"all in {took[-1]:.1f} s")
    rss_kib = processes.rss_kib(core.pid)
    trial.figures |= {"all in s, max": round(max(took), 2), "Core MiB": round(rss_kib / 1024)}
    trial.check(max(took) < RETURN_S, f"it took {max(took):.1f} s until all were back")
    trial.check(rss_kib < CORE_KIB, f"Core holds {rss_kib // 1024} MiB")


async def _until_all_are_back(fleet: FleetProcess, deadline: float) -> dict[str, Any]:
    """Look until every Runner is back by its own schedule, or it is too late; the last look."""
    while (figures := await _ask(fleet, "figures"))["open"] < CROWD and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return figures


async def _ask(fleet: FleetProcess, command: str) -> dict[str, Any]:
    fleet.tell(command)
    return await asyncio.to_thread(fleet.hear)


async def _provision(data: Path) -> dict[str, str]:
    program = (sys.executable, "-m", "bench.provision", str(data), str(CROWD))
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    tokens: dict[str, str] = json.loads(printed)
    return tokens


def _start(core: Program, data: Path, grpc: str) -> int:
    """Start Core with its Runners' door at an address; the port."""
    command = list(core.command)
    command[command.index("--grpc") + 1] = grpc
    core.command = command
    endpoints = data / "endpoints.json"
    endpoints.unlink(missing_ok=True)
    core.start()
    core.wait_for(endpoints.exists, "Core's doors")
    return int(json.loads(endpoints.read_text())["grpc_port"])


# --- F22 --------------------------------------------------------------------------------------------------------------


async def never_read(trial: Trial) -> None:
    """Half of them send heartbeats and never read the jobs they are given; half are stopped altogether."""
    async with trial.stage() as stage, trial.under_load(stage) as load:
        await load.acknowledged(20)
        names = [f"stuck-{number}" for number in range(STUCK)]
        tokens = dict(zip(names, await _admit(stage, names), strict=True))
        for _ in range(trial.runs):
            before = processes.rss_kib(stage.core.pid)
            beating, stopped = names[: STUCK // 2], names[STUCK // 2 :]
            async with (
                _readers(stage, {name: tokens[name] for name in beating}),
                _readers(stage, {name: tokens[name] for name in stopped}) as frozen,
            ):
                trial.check(await asyncio.to_thread(streams, stage) == STUCK + 1, "not all are connected")
                await _give_work(stage, len(beating) * SLOTS)
                frozen.send_signal(signal.SIGSTOP)
                unread, all_closed, grown = await _watch(stage, before, len(stopped) + 1)
            trial.figures |= {"unread streams closed after s": round(unread, 1), "frozen ones": round(all_closed, 1)}
            trial.figures["Core grew by MiB"] = round(grown / 1024, 1)
            trial.check(grown < GROWTH_KIB, f"Core grew by {grown // 1024} MiB")
            trial.check(unread <= UNREAD_S, f"the last unread stream was closed after {unread:.0f} s")
            trial.check(all_closed <= FROZEN_S, f"the last frozen Runner's stream was closed after {all_closed:.0f} s")
            trial.step()


async def _watch(stage: Stage, before_kib: int, frozen: int) -> tuple[float, float, int]:
    """Wait until only the frozen and the real Runner are left, then only the real one; seconds, and Core's growth."""
    grown = 0

    def left(count: int) -> bool:
        nonlocal grown
        grown = max(grown, processes.rss_kib(stage.core.pid) - before_kib)
        return streams(stage) <= count

    unread = await until(partial(left, frozen), "the end of every unread stream", 2 * UNREAD_S)
    return unread, unread + await until(partial(left, 1), "the end of every frozen stream", 2 * FROZEN_S), grown


async def _admit(stage: Stage, names: list[str]) -> list[str]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {stage.token}"}) as http:
        tokens = []
        for name in names:
            async with http.post(f"{stage.url}/api/v1/runners", json={"runner_id": name}) as answer:
                tokens.append(str((await answer.json())["token"]))
    return tokens


async def _give_work(stage: Stage, jobs: int) -> None:
    """Jobs that only stuck Runners could do, large enough to fill every window."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {stage.token}"}) as http:
        for number in range(jobs):
            document = {"capability": CAPABILITY.name, "input": {"text": "x" * INPUT_CHARS, "number": number}}
            async with http.post(f"{stage.url}/api/v1/jobs", json=document) as answer:
                answer.raise_for_status()


@asynccontextmanager
async def _readers(stage: Stage, tokens: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    program = (sys.executable, "-m", "tests.chaos.subjects.stuck_readers", str(stage.grpc_port), stage.tenant_id)
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the stuck readers have no pipes")
        process.stdin.write(json.dumps(tokens).encode() + b"\n")
        await process.stdin.drain()
        async with asyncio.timeout(30):
            greeted = await process.stdout.readline()
        if greeted != b"greeted\n":
            raise RuntimeError("the stuck readers could not greet Core")
        yield process
    finally:
        process.kill()
        await process.wait()


FAULTS = (
    Fault(
        "F21",
        "all Runners at once",
        "1,000 Runners over mTLS lose their connection and dial in the same moment; in turn Core is killed.",
        "heartbeats",
        "all in within 10 s, none refused; Core below 250 MiB; after a kill within 30 s",
        all_at_once,
        short=3,
        full=30,
        unit="returns",
    ),
    Fault(
        "F22",
        "stuck readers",
        "50 Runners take no octet of what Core sends, 50 more are frozen; half of them are given jobs of 16 kB.",
        LOAD,
        "streams closed within 45 s unread, 50 s frozen; Core grows by < 20 MiB; the healthy Runner loses nothing",
        never_read,
        short=1,
        full=10,
        unit="crowds",
    ),
)
