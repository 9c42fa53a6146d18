"""The ground a fault stands on: provider stand-ins, Core and Runner as real programs, ready for jobs.

One stage stays up between the faults that share it (`Ground.shared`); the others start one of their own (`started`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from demo.messages import plugin_environment
from demo.program import StageError
from demo.stage import ROOT, Stage
from tests.chaos.witness import install_witness

PACE_S = 0.03
"""How long a provider takes before and after it accepts: an instant answer would leave no moment to be killed in."""
CAPABILITIES = frozenset({"kakao.alimtalk.send", "slack.send", "witness.say"})

Prepare = Callable[[Stage], None]


def build(
    home: Path,
    *,
    core_environment: Mapping[str, str] | None = None,
    runner_environment: Mapping[str, str] | None = None,
    core_options: tuple[str, ...] = (),
    core_lines: tuple[str, ...] = (),
    runner_lines: tuple[str, ...] = (),
    search: Sequence[Path] = (),
) -> Stage:
    """A stage under `home` whose Runner also finds the witness plugin; nothing is started.

    `core_lines` and `runner_lines` are further lines of the two programs' TOML files; `search` comes first on their
    Python path.
    """
    plugins = home / "plugins"
    install_witness(plugins)
    if core_lines:
        file = home / "core.toml"
        file.write_text("\n".join(core_lines) + "\n")
        core_options = (*core_options, "--config", str(file))
    stage = Stage(
        home,
        core_options=core_options,
        runner_lines=runner_lines,
        runner_environment={**(runner_environment or {}), "PYTHONPATH": _path(search, runner_environment, plugins)},
    )
    core_path = _path(search, core_environment, ROOT)
    stage.core.env = {**stage.core.env, **(core_environment or {}), "PYTHONPATH": core_path}
    return stage


def _path(search: Sequence[Path], environment: Mapping[str, str] | None, last: Path) -> str:
    return ":".join(filter(None, (*map(str, search), (environment or {}).get("PYTHONPATH", ""), str(last))))


def start(stage: Stage, prepare: Prepare | None = None) -> None:
    """Start everything and wait until jobs can flow; `prepare` may change the stage before Core and Runner start."""
    stage.plugin_env = plugin_environment(stage.start_providers())
    stage.pace_providers(PACE_S)
    if prepare is not None:
        prepare(stage)
    stage.start_core()
    stage.create_runner()
    stage.start_runner()
    stage.runner.wait_for(lambda: _offered(stage) >= CAPABILITIES, "its plugins' capabilities")


def _offered(stage: Stage) -> set[str]:
    """What Core says the Runner offers. On a busy machine a plugin may take longer than the others to say."""
    record = stage.connected_runner() or {}
    return set(record.get("capabilities", ()))


@asynccontextmanager
async def started(
    home: Path,
    *,
    core_environment: Mapping[str, str] | None = None,
    runner_environment: Mapping[str, str] | None = None,
    core_options: tuple[str, ...] = (),
    core_lines: tuple[str, ...] = (),
    runner_lines: tuple[str, ...] = (),
    search: Sequence[Path] = (),
    prepare: Prepare | None = None,
) -> AsyncIterator[Stage]:
    """A stage of one's own, started, and stopped at the end."""
    stage = await asyncio.to_thread(
        build,
        home,
        core_environment=core_environment,
        runner_environment=runner_environment,
        core_options=core_options,
        core_lines=core_lines,
        runner_lines=runner_lines,
        search=search,
    )
    try:
        await asyncio.to_thread(start, stage, prepare)
        yield stage
    finally:
        await asyncio.to_thread(stage.stop)


@asynccontextmanager
async def another_runner(stage: Stage, name: str) -> AsyncIterator[Stage]:
    """A second Runner at the Core of a stage, with a folder of its own; a stage of which only the Runner is started."""
    other = build(stage.home / name, runner_lines=stage.runner_lines)
    other.runner_id, other.token = name, stage.token
    other.http_port, other.grpc_port, other.plugin_env = stage.http_port, stage.grpc_port, stage.plugin_env
    try:
        await asyncio.to_thread(other.create_runner)
        await asyncio.to_thread(other.start_runner)
        yield other
    finally:
        await asyncio.to_thread(other.stop)


class Ground:
    """Keeps the shared stage up from the first fault that wants it to the last, and starts anew what a fault broke."""

    def __init__(self, home: Path, search: Sequence[Path] = ()) -> None:
        self._home = home
        self.search = search
        self._stage: Stage | None = None
        self._made = 0

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[Stage]:
        """The shared stage with everything running; a fault that raises, or leaves a program dead, has spoiled it."""
        stage = await self._ready()
        try:
            yield stage
        except BaseException:
            await self.close()
            raise

    async def _ready(self) -> Stage:
        if self._stage is not None and not await asyncio.to_thread(_sound, self._stage):
            await self.close()
        if self._stage is None:
            self._made += 1
            stage = build(self._home / f"shared-{self._made}", search=self.search)
            try:
                await asyncio.to_thread(start, stage)
            except BaseException:
                await asyncio.to_thread(stage.stop)
                raise
            self._stage = stage
        return self._stage

    async def close(self) -> None:
        """Stop the shared stage, if there is one."""
        stage, self._stage = self._stage, None
        if stage is not None:
            await asyncio.to_thread(stage.stop)


def _sound(stage: Stage) -> bool:
    try:
        stage.runner.wait_for(stage.connected_runner, "the Runner's connection")
    except StageError:
        return False
    return stage.core.running() and stage.providers.running()
