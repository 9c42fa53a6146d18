"""Where checks are made one after the other: a Core that listens, an outside world, a runner that dials in."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from aisops_protocol import messages as m
from aisops_protocol.conformance.core import Core, Tls
from aisops_protocol.conformance.effects import Effects
from aisops_protocol.conformance.findings import Finding, Skipped, Unmet, Verdict
from aisops_protocol.conformance.ground import Ground
from aisops_protocol.conformance.process import Launch, RunnerProcess, placeholders
from aisops_protocol.conformance.pulse import Pulse
from aisops_protocol.conformance.referee import Breach
from aisops_protocol.conformance.registry import Check, Need
from aisops_protocol.session import Identity

__all__ = ["Settings", "Station", "Tally"]

PARTING_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to run.

    Attributes:
        launch: How to start the runner; None: it is running already and dials `listen`.
        identity: Tenant and Runner that it is told to be.
        host: Where it finds the kit: the name in its endpoint.
        listen: Address for its stream, `HOST:PORT`.
        effects: Address of the outside world, `HOST:PORT`.
        tls: Files for a listener with TLS; None: plaintext.
        ca: What the runner needs to trust it; a value for `{ca}`.
        token: The credential it presents; empty: the kit draws one, or does not know it (attached).
        at_once: Checks made at the same time; one when attached.
        seed: Of all chance.
        patience: Factor on every wait.
    """

    launch: Launch | None
    identity: Identity
    host: str = "127.0.0.1"
    listen: str = "127.0.0.1:0"
    effects: str = "127.0.0.1:0"
    tls: Tls | None = None
    ca: Path | None = None
    token: str = ""
    at_once: int = 6
    seed: str = "0"
    patience: float = 1.0


@dataclass(slots=True)
class Tally:
    """What the standing checks judge: every frame of a run.

    Attributes:
        frames: How many came.
        streams: Over how many streams.
        breaches: Which of them broke a rule.
    """

    frames: int = 0
    streams: int = 0
    breaches: list[Breach] = field(default_factory=list)

    def add(self, ground: Ground) -> list[Breach]:
        """Count the streams of a check; their breaches."""
        found = [breach for line in ground.lines for breach in line.breaches]
        self.frames += sum(len(line.frame_octets) for line in ground.lines)
        self.streams += len(ground.lines)
        self.breaches += found
        return found


class Station:
    """One runner and its surroundings. An async context manager.

    Args:
        settings: How.
        tally: Told of every frame.

    Attributes:
        trouble: Why the runner could not be started; empty when it was, or runs already.
    """

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self.trouble = ""
        self._settings, self._tally = settings, tally
        self._pulse = Pulse(settings.patience)
        self._core = Core(settings.identity, self._pulse, address=settings.listen, tls=settings.tls)
        self._effects = Effects(self._pulse, address=settings.effects)
        self._process: RunnerProcess | None = None
        self._token = settings.token
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    async def make(self, check: Check) -> Finding:
        """Make one check, and leave the runner as it was found: connected in order, with nothing to do."""
        if self.trouble:
            return Finding(check, Verdict.FAILED, self.trouble, "the runner's command to start")
        ground = Ground(
            self._core,
            self._effects,
            self._pulse,
            process=self._process,
            token=self._token,
            seed=f"{self._settings.seed}:{check.id}",
            wants_work=Need.WORK in check.needs,
        )
        found = await self._run(check, ground)
        if found.verdict is Verdict.FAILED and self._process is not None:
            found = replace(found, output=self._process.tail())
        await self._part(ground)
        return found

    async def _start(self) -> None:
        """Listen, then start the runner. Raises OSError when an address cannot be had or a TLS file be read."""
        await self._effects.start()
        self._stack.push_async_callback(self._effects.stop)
        await self._core.start()
        self._stack.push_async_callback(self._core.stop)
        if self._settings.launch is not None:
            await self._launch(self._settings.launch)

    async def _launch(self, launch: Launch) -> None:
        self._token = self._token or secrets.token_urlsafe(32)
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="aisops-conformance-")))
        settings = self._settings
        values = placeholders(
            folder=folder,
            host=settings.host,
            port=self._core.port,
            tls=settings.tls is not None,
            tenant=settings.identity.tenant_id,
            runner=settings.identity.runner_id,
            token=self._token,
            ca=settings.ca,
        )
        self._process = RunnerProcess(launch, values, folder, self._pulse)
        self._stack.push_async_callback(self._process.end)
        try:
            await self._process.start()
        except (OSError, ValueError) as error:
            self.trouble = str(error)

    async def _run(self, check: Check, ground: Ground) -> Finding:
        """Run a script, and turn whatever comes of it into a finding."""
        begun = time.monotonic()
        limit_s = check.limit_s * self._settings.patience
        try:
            async with asyncio.timeout(limit_s):
                if check.script is None:
                    raise ValueError("a standing check has no script")
                found = Finding(check, Verdict.PASSED, await check.script(ground))
        except Skipped as reason:
            found = Finding(check, Verdict.SKIPPED, str(reason))
        except Unmet as error:
            found = Finding(check, Verdict.FAILED, error.came, error.expected)
        except TimeoutError:
            found = Finding(check, Verdict.FAILED, ground.trace(), f"an end within {limit_s:.0f} s")
        except Exception as error:  # noqa: BLE001 - a fault of the kit is a finding too, never a traceback
            found = Finding(check, Verdict.BROKEN, f"the kit itself failed: {type(error).__name__}: {error}")
        breaches = self._tally.add(ground)
        if breaches and found.verdict is Verdict.PASSED:
            found = Finding(check, Verdict.FAILED, str(breaches[0]), "no breach of the contract on the way")
        return replace(found, took_s=time.monotonic() - begun)

    async def _part(self, ground: Ground) -> None:
        """Let every job end and the last stream drain, so that the next check finds a runner at rest."""
        self._core.refusal = None
        self._effects.release()
        line = ground.lines[-1] if ground.lines else None
        if line is not None and line.open and not line.breaches and not self._ended():
            line.acking = line.ponging = True
            line.ack()
            line.say(m.Drain(0, "the check is over"))
            await self._pulse.until(lambda: line.over, PARTING_S)
        for one in ground.lines:
            one.end()

    def _ended(self) -> bool:
        """Whether no runner is there to part from."""
        return self._process is not None and self._process.exit_code is not None
