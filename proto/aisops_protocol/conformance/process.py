"""The runner under test as a process of its own: started, told to stop, killed and started again; its words kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aisops_protocol.conformance.pulse import Pulse

__all__ = ["Launch", "RunnerProcess", "placeholders"]

_TAIL_LINES = 12
_STOP_S = 45.0


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start the runner under test; `{placeholders}` in each text are filled in for every check.

    Attributes:
        command: Its command line, without a shell.
        env: Variables on top of the kit's own environment.
        template: A configuration file with placeholders; `{config}` is the name of the filled-in copy.
    """

    command: str
    env: Mapping[str, str] = field(default_factory=dict)
    template: str = ""


def placeholders(
    *, folder: Path, host: str, port: int, tls: bool, tenant: str, runner: str, token: str, ca: Path | None
) -> dict[str, str]:
    """What may stand in braces, and its value for one check; the token and its file are made here."""
    token_file = folder / "token"
    token_file.write_text(token)
    token_file.chmod(0o600)
    return {
        "endpoint": f"{'https' if tls else 'http'}://{host}:{port}",
        "host": host,
        "port": str(port),
        "tenant": tenant,
        "runner": runner,
        "token_file": str(token_file),
        "data": str(folder / "data"),
        "config": str(folder / "config"),
        "ca": str(ca or ""),
    }


class RunnerProcess:
    """One runner, over any number of lives with the same data.

    Args:
        launch: How to start it.
        values: What its placeholders stand for.
        folder: Where its output and its filled-in configuration go.
        pulse: Beaten when it ends.
    """

    def __init__(self, launch: Launch, values: Mapping[str, str], folder: Path, pulse: Pulse) -> None:
        self._launch, self._values, self._folder, self._pulse = launch, values, folder, pulse
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: asyncio.Task[None] | None = None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Start it, or start it again. Raises OSError when the command cannot be run."""
        self._configure()
        words = [fill(word, self._values) for word in shlex.split(self._launch.command)]
        env = {name: fill(text, self._values) for name, text in self._launch.env.items()}
        ours = {f"AISOPS_CONFORMANCE_{name.upper()}": value for name, value in self._values.items()}
        with (self._folder / "output").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                env={**os.environ, **ours, **env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._waiting = asyncio.create_task(self._wait(self._process))

    async def kill(self) -> None:
        """End it as a power cut does, and wait until it has gone."""
        await self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to stop in order."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def end(self) -> None:
        """Leave nothing of it behind, what it started included."""
        await self._signal(signal.SIGKILL)
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def tail(self) -> str:
        """The last lines it wrote."""
        with contextlib.suppress(OSError):
            lines = (self._folder / "output").read_text(errors="replace").splitlines()
            return "\n".join(line[:400] for line in lines[-_TAIL_LINES:])
        return ""

    def _configure(self) -> None:
        """Write the filled-in configuration, if there is one."""
        if self._launch.template:
            Path(self._values["config"]).write_text(fill(self._launch.template, self._values))

    async def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._waiting is None:
            return
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
        await asyncio.wait({self._waiting}, timeout=_STOP_S)

    async def _wait(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        self._pulse.beat()


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of `{names}`; other braces stay as they are."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
