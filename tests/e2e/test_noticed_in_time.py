"""How soon a line that went dead and a second machine with the same identity are noticed, by real programs."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from aisops_runner.control.client import ask
from aisops_runner.errors import RunnerError
from aisops_runner.uplink.hello import read_boot_id
from demo.program import get_json, wait_until
from demo.stage import Stage
from tests.chaos.injection.proxy import ChaosProxy
from tests.chaos.injection.wire import BOTH

HALF_OPEN_S = 30.0
CLONE_TOLD_S = 10.0


@contextmanager
def connected_stage(home: Path, grpc_port: Callable[[int], int] = int) -> Iterator[Stage]:
    """Core and a connected Runner; `grpc_port` is given the port of Core's door and says which one the Runner calls."""
    with Stage(home) as stage:
        stage.start_core()
        stage.grpc_port = grpc_port(stage.grpc_port)
        stage.create_runner()
        stage.start_runner()
        wait_until(lambda: uplink(stage).get("state") == "connected" or None, "the Runner's own word")
        yield stage


@asynccontextmanager
async def swallowing(home: Path) -> AsyncIterator[tuple[Stage, ChaosProxy]]:
    """The same, with a proxy on the way that can swallow everything."""
    async with ChaosProxy() as proxy:

        def go_through(port: int) -> int:
            proxy.target_port = port
            return proxy.port

        standing = connected_stage(home, go_through)
        stage = await asyncio.to_thread(standing.__enter__)
        try:
            yield stage, proxy
        finally:
            proxy.release()
            await asyncio.to_thread(standing.__exit__, None, None, None)


def uplink(stage: Stage) -> dict[str, Any]:
    """A Runner's own account of its connection; empty while it does not answer."""
    with suppress(RunnerError):
        return dict(ask(stage.home / "runner", "status")["core"])
    return {}


async def seconds_until(condition: Callable[[], bool]) -> float:
    """How long it takes until the condition holds; it is asked in a thread, at most twice the time it may take."""
    began = time.monotonic()
    await asyncio.to_thread(wait_until, lambda: condition() or None, "the end being noticed", 2 * HALF_OPEN_S)
    return time.monotonic() - began


async def test_both_ends_notice_a_line_that_swallows_everything(tmp_path: Path) -> None:
    """Nothing is closed and nothing refused: each end must find out by itself that it talks to nobody."""
    async with swallowing(tmp_path / "stage") as (stage, proxy):
        proxy.hold(*BOTH)
        at_core, at_runner = await asyncio.gather(
            seconds_until(lambda: stage.connected_runner() is None),
            seconds_until(lambda: uplink(stage).get("state") != "connected"),
        )
        assert at_core <= HALF_OPEN_S
        assert at_runner <= HALF_OPEN_S
        assert "the line went dead" in uplink(stage)["last_error"]
        proxy.release()
        await asyncio.to_thread(stage.runner.wait_for, stage.connected_runner, "the Runner being back", 60)


def clones_told(stage: Stage) -> list[Any]:
    """The data of every event about clones of the Runner."""
    events = get_json(f"{stage.url}/api/v1/runners/{stage.runner_id}/events", stage.token)
    return [event["data"] for event in events["items"] if event["kind"] == "clone_refused"] if events else []


def test_a_clone_is_told_so_and_the_original_keeps_its_session(tmp_path: Path) -> None:
    """A copy of the Runner's folder is started on what is another machine to Core."""
    with connected_stage(tmp_path / "original") as original, Stage(tmp_path / "clone") as clone:
        session = uplink(original)["session_id"]
        skip = shutil.ignore_patterns("control.sock", "run", "lock")
        shutil.copytree(original.home / "runner", clone.home / "runner", ignore=skip)
        text = original.runner_config.read_text().replace(f'"{original.home}/runner"', f'"{clone.home}/runner"')
        clone.runner_config.touch(mode=0o600)
        clone.runner_config.write_text(text)
        clone.runner.start()
        clone.runner.wait_for(lambda: uplink(clone) or None, "the clone running")
        began = time.monotonic()
        clone.runner.wait_for(lambda: "DUPLICATE_INSTANCE" in uplink(clone)["last_error"] or None, "the refusal")
        assert time.monotonic() - began <= CLONE_TOLD_S
        assert (uplink(original)["state"], uplink(original)["session_id"]) == ("connected", session)
        (told,) = wait_until(lambda: clones_told(original), "the clone being on record")
        assert told["connected"]["session_id"] == session, "what `aisops-runner status --json` shows there"
        assert told["refused"]["boot_id"] == read_boot_id(), "what the kernel of the clone's machine says"
