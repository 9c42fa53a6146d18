"""The ground for faults of the network: a stage whose connection between Runner and Core can be harmed.

Where namespaces can be made the kernel does the harm, in a private world; elsewhere the chaos proxy does what it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol
from urllib.request import urlopen

from aisops_runner.control.client import ask
from aisops_runner.errors import RunnerError
from demo.program import wait_until
from demo.stage import Stage
from tests.chaos import oracle
from tests.chaos.fault import ROOT, Need, tool
from tests.chaos.injection.private_world import in_private_world
from tests.chaos.injection.proxy import ChaosProxy
from tests.chaos.injection.wire import Way, Wire
from tests.chaos.trial import Trial

NAMESPACES: tuple[Need, ...] = (ROOT, tool("ip", "iproute2"), tool("nft", "nftables"), tool("tc", "iproute2"))


class Line(Protocol):
    """The connection between one Runner and Core."""

    def drop(self, *ways: Way) -> None:
        """Let nothing through in these directions; neither end is told."""
        ...

    def heal(self) -> None:
        """Let everything through again."""
        ...


class ProxyLine:
    """A line through the chaos proxy. A new connection is accepted while it is cut, and then finds silence."""

    def __init__(self, proxy: ChaosProxy) -> None:
        self._proxy = proxy

    def drop(self, *ways: Way) -> None:
        """Hold everything back in these directions."""
        self._proxy.hold(*ways)

    def heal(self) -> None:
        """Deliver it."""
        self._proxy.release()


@asynccontextmanager
async def proxied(trial: Trial, name: str = "stage") -> AsyncIterator[tuple[Stage, ChaosProxy]]:
    """A stage whose Runner reaches Core through the chaos proxy."""
    async with ChaosProxy(rng=trial.rng) as proxy:

        def prepare(stage: Stage) -> None:
            proxy.target_port = stage.grpc_port

        environment = {"CORE_GRPC_ENDPOINT": f"http://127.0.0.1:{proxy.port}"}
        async with trial.stage(name, runner_environment=environment, prepare=prepare) as stage:
            yield stage, proxy


async def on_a_line(trial: Trial, work: Callable[[Stage, Line], Awaitable[None]], name: str = "stage") -> None:
    """Run `work` with a stage and the line between its Runner and Core."""
    lacking = [reason for need in NAMESPACES if (reason := need.missing())]
    trial.figures["cut by"] = "nft" if not lacking else f"chaos proxy ({'; '.join(lacking)})"
    if not lacking:
        await in_private_world(partial(_on_a_wire, trial, work, name))
        return
    async with proxied(trial, name) as (stage, proxy):
        await work(stage, ProxyLine(proxy))


async def _on_a_wire(trial: Trial, work: Callable[[Stage, Line], Awaitable[None]], name: str) -> None:
    async with trial.stage(name) as stage:
        await work(stage, Wire(stage.grpc_port))


async def flows_again(trial: Trial, stage: Stage, patience_s: float = 90.0) -> float:
    """Send one job through and wait for its end; how many seconds that took."""
    loop = asyncio.get_running_loop()
    began, load = loop.time(), trial.load(stage)
    await load.burst(1)
    await oracle.settle(stage, load, trial.tally, patience_s)
    return loop.time() - began


def core_sees(stage: Stage) -> bool:
    """Whether Core calls the Runner connected."""
    return stage.connected_runner() is not None


def runner_sees(stage: Stage) -> bool:
    """Whether the Runner calls itself connected."""
    try:
        core = ask(stage.home / "runner", "status")["core"]
    except RunnerError:
        return False
    return bool(core["state"] == "connected")


def reconnects(stage: Stage) -> int:
    """Connections that the Runner has lost since it started."""
    return int(ask(stage.home / "runner", "status")["core"]["reconnects"])


async def until(condition: Callable[[], bool], what: str, patience_s: float) -> float:
    """Wait for a condition; how many seconds that took.

    Raises:
        StageError: It did not hold within `patience_s` seconds.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.to_thread(wait_until, condition, what, patience_s)
    return loop.time() - began


def streams(stage: Stage) -> int:
    """Streams that Core holds open."""
    with urlopen(f"{stage.url}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("aisops_core_runner_streams "):
                return int(float(line.split()[1]))
    raise LookupError("Core does not say how many streams it holds")
