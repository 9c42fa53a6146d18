"""How a sidecar of the SDK gets ready: it prints a ready line, then log lines. Its input is only a lifeline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial

from aisops_runner.adapters.pipes import LineReader
from aisops_runner.errors import SidecarStartFailed
from aisops_runner.sidecars.lines import CONTRACTS, Ready, common_contract, parse_ready, parse_refusal
from aisops_runner.sidecars.process import LAST_WORDS_CHARS, STOP_STEP_S, SidecarProcess


class ReadyLine:
    """Waits for the ready line.

    Args:
        redact: Takes secrets out of a text.

    Attributes:
        port: Where the sidecar listens, once it is ready.
    """

    leaves_s = STOP_STEP_S

    def __init__(self, redact: Callable[[str], str]) -> None:
        self.port = 0
        self._redact = redact
        self._refusal = ""
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()

    def variables(self) -> Mapping[str, str]:
        """It chooses a port itself, as every sidecar is told."""
        return {}

    def stdout(self, log: Callable[[bytes], None], admit: Callable[[], int]) -> asyncio.Protocol:
        """Lines: the ready line is always looked for, whatever was logged before it."""
        return LineReader(partial(self._line, log), admit=lambda: max(admit(), 0 if self._ready.done() else 1))

    async def take_stdin(self, fd: int) -> Callable[[], None]:
        """Nothing is written."""
        return partial(os.close, fd)

    async def ready(self, process: SidecarProcess) -> None:
        """Wait for the line, and check that it speaks a contract that we do.

        Raises:
            SidecarStartFailed: It does not (code `incompatible`).
        """
        ready = await asyncio.shield(self._ready)
        if common_contract(ready.contract) is None:
            ours, theirs = ", ".join(map(str, CONTRACTS)), ", ".join(map(str, ready.contract)) or "none"
            text = f"speaks sidecar contract {theirs}, this Runner {ours}; upgrade the older of the two"
            raise SidecarStartFailed(text, code="incompatible")
        self.port = ready.port

    def refusal(self) -> str:
        """Why it said that it will not start; empty: it did not say."""
        return self._refusal

    def _line(self, log: Callable[[bytes], None], line: bytes) -> None:
        ready = None if self._ready.done() else parse_ready(line)
        if ready is not None:
            self._ready.set_result(ready)
            return
        log(line)
        if not self._ready.done() and (refusal := parse_refusal(line)):
            self._refusal = self._redact(refusal)[:LAST_WORDS_CHARS]
