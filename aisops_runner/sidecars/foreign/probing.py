"""How a local-http program gets ready: it is given a free port, and asked for its probe until it answers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from aisops_runner.adapters.pipes import LineReader
from aisops_runner.clock import Clock
from aisops_runner.errors import SidecarStartFailed
from aisops_runner.sidecars.calling import SignedHttp
from aisops_runner.sidecars.foreign.listener import listens
from aisops_runner.sidecars.http import Connections
from aisops_runner.sidecars.process import SidecarProcess

POLL_S: Final = 0.05
PROBE_S: Final = 1.0
LEAVES_S: Final = 0.25
"""An HTTP server of the original does not look at its standard input; one that does needs no longer."""


class ProbePolling:
    """Asks `POST /probe` every 50 ms.

    Args:
        token: Signs the calls.
        clock: For timestamps.

    Attributes:
        http: The way to it.
    """

    leaves_s = LEAVES_S

    def __init__(self, token: str, clock: Clock) -> None:
        self._port = free_port()
        self._connections = Connections(self._port)
        self.http = SignedHttp(self._connections, f"127.0.0.1:{self._port}", token, clock)

    def variables(self) -> Mapping[str, str]:
        """It takes its port literally."""
        return {"PORT": str(self._port)}

    def stdout(self, log: Callable[[bytes], None], admit: Callable[[], int]) -> asyncio.Protocol:
        """Log lines."""
        return LineReader(log, admit=admit)

    async def take_stdin(self, fd: int) -> Callable[[], None]:
        """Nothing is written."""
        return partial(os.close, fd)

    async def ready(self, process: SidecarProcess) -> None:
        """Ask until it answers.

        Raises:
            SidecarStartFailed: Somebody else answers on its port.
        """
        try:
            while not await self._answers():  # noqa: ASYNC110 - it is another process, and tells nobody
                await asyncio.sleep(POLL_S)
            if await asyncio.to_thread(listens, process.pid, self._port) is False:
                raise SidecarStartFailed(f"port {self._port}, which it was given, is another process's")
        except BaseException:
            self.http.close()
            raise

    def refusal(self) -> str:
        """It has no word for that."""
        return ""

    async def _answers(self) -> bool:
        document = await self.http.ask("POST", "/probe", signed=False, timeout_s=PROBE_S)
        return document is not None and document.get("ok") is True


def free_port() -> int:
    """A port of this machine that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
