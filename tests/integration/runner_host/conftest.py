"""A fleet over throw-away vendor plugins, and what it told its ports."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aisops_runner.adapters.calls import Call, JobLog, Outcome
from aisops_runner.adapters.host import PluginHost
from aisops_runner.clock import SystemClock
from aisops_runner.sidecars.fleet import Fleet, FleetPorts, PluginStatus
from aisops_runner.sidecars.foreign.found import ForeignSources
from aisops_runner.sidecars.settings import DefaultSettings, PluginSettings

CLEAN_ENV = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


async def until(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    """Wait for a condition, not for time."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - the condition is about a process, which sets no event
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie waiting for its parent has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def command_line(pid: int) -> bytes:
    """The words a process was started with, as every user of the machine can read them."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def make_call(capability: str, body: bytes = b"{}", *, job_id: str = "job-1", timeout_s: float = 20.0) -> Call:
    return Call(job_id, "t_default", "runner-1", 1, capability, body, job_id, timeout_s)


@dataclass
class Bench:
    """One fleet in a test, with everything it reported."""

    site: Path
    data: Path
    host: PluginHost = field(default_factory=PluginHost)
    logs: list[JobLog] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    changes: int = 0
    settings: dict[str, PluginSettings] = field(default_factory=dict)
    foreign: ForeignSources = field(default_factory=ForeignSources)
    env: dict[str, str] = field(default_factory=dict)
    fleet: Fleet | None = None

    async def start(self, *names: str, describe_timeout_s: float = 20.0, ask_again_s: float = 60.0) -> Fleet:
        ours = {*names, *self.settings}
        off = {
            name: DefaultSettings(enabled=False) for name in ("slack", "email", "telegram", "kakao") if name not in ours
        }
        self.fleet = Fleet(
            self.host,
            data_dir=self.data,
            settings=off | self.settings,
            env=CLEAN_ENV | {"PYTHONPATH": str(self.site), "OTHER_SECRET": "do not pass on"} | self.env,
            clock=SystemClock(),
            ports=FleetPorts(
                on_log=self.logs.append,
                on_event=lambda kind, facts: self.events.append((kind, facts)),
                on_change=self._changed,
                redact=lambda text: text,
                register_secret=self.secrets.add,
            ),
            describe_timeout_s=describe_timeout_s,
            ask_again_s=ask_again_s,
            foreign=self.foreign,
        )
        await self.fleet.start()
        return self.fleet

    async def invoke(self, capability: str, body: bytes = b"{}", **options: object) -> Outcome:
        return await self.host.invoke(make_call(capability, body, **options))

    def row(self, name: str) -> PluginStatus:
        assert self.fleet is not None
        return next(row for row in self.fleet.status() if row.name == name)

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    bench = Bench(site, tmp_path / "data")
    yield bench
    if bench.fleet is not None:
        await bench.fleet.stop()
