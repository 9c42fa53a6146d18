"""The pipes of one stdio-json program: lines carried to and from the machine that understands them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aisops_runner.errors import SidecarStartFailed
from aisops_runner.sidecars.foreign.lines import Answered, Broken, Event, Said, StdioMachine
from aisops_runner.sidecars.process import STOP_STEP_S, SidecarProcess

SILENT_S: Final = 1.0
"""A program that closed one of its streams may live so long: it is probably on its way out."""

Document = dict[str, Any]


class StdioChannel:
    """The pipes of one start, and who waits for which answer."""

    leaves_s = STOP_STEP_S

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._machine = StdioMachine()
        self._waiting: dict[str, Callable[[Document], None]] = {}
        self._input: asyncio.WriteTransport | None = None
        self._log: Callable[[bytes], None] | None = None
        self._admit: Callable[[], int] | None = None
        self._process: SidecarProcess | None = None
        self._broken = ""
        self._left = False
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # --- how it gets ready --------------------------------------------------------------------------------------------

    def variables(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def stdout(self, log: Callable[[bytes], None], admit: Callable[[], int]) -> asyncio.Protocol:
        """Answers, and what it says before the first of them."""
        self._log, self._admit = log, admit
        return _Output(self)

    async def take_stdin(self, fd: int) -> Callable[[], None]:
        """Requests are written there; its end tells the program to leave."""
        file = os.fdopen(fd, "wb", 0)
        self._input, _ = await self._loop.connect_write_pipe(partial(_Input, self), file)
        return self._close_input

    async def ready(self, process: SidecarProcess) -> None:
        """Ask for its probe, once: what it cannot read yet waits in the pipe.

        Raises:
            SidecarStartFailed: It answers that it is not well.
        """
        self._process = process
        if self._broken:
            self._condemn(self._broken)
        document = await self.probe()
        if document.get("ok") is not True:
            error = document.get("error")
            reason = error.get("message") if isinstance(error, dict) else error
            raise SidecarStartFailed(f"answers its probe with an error: {str(reason)[:300]}")

    def refusal(self) -> str:
        """It has no word for that."""
        return ""

    # --- requests -----------------------------------------------------------------------------------------------------

    async def probe(self) -> Document:
        """Ask whether it lives, and wait for the answer."""
        identity, line = self._machine.probe()
        answer: asyncio.Future[Document] = self._loop.create_future()
        self._send(identity, line, partial(_resolve, answer))
        try:
            return await answer
        finally:
            self.forget(identity)

    def invoke(self, capability: str, body: bytes, told: Callable[[str, Document], None]) -> str:
        """Send a call.

        Args:
            capability: As the plugin spells it.
            body: JSON on one line.
            told: Told the request's id and the answer, later.

        Returns:
            The request's id.

        Raises:
            ValueError: It does not fit into a line; nothing was sent.
        """
        identity, line = self._machine.invoke(capability, body)
        self._send(identity, line, partial(told, identity))
        return identity

    def forget(self, identity: str) -> None:
        """Nobody waits for this answer any more."""
        self._waiting.pop(identity, None)
        self._machine.forget(identity)

    def _send(self, identity: str, line: bytes, told: Callable[[Document], None]) -> None:
        self._waiting[identity] = told
        if self._input is not None and not self._input.is_closing():
            self._input.write(line)

    # --- what the pipes say -------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """It wrote something."""
        self._take(self._machine.receive(data))

    def output_ended(self) -> None:
        """It writes no more. It is leaving, or never will answer again."""
        self._take(self._machine.finish())
        if not self.closed.done():
            self.closed.set_result(None)
        self._end_if_it_stays("closed its standard output")

    def input_ended(self) -> None:
        """It reads no more."""
        if not self._left:
            self._end_if_it_stays("closed its standard input")

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Answered):
                told = self._waiting.pop(event.identity, None)
                if told is not None:
                    told(event.document)
            elif isinstance(event, Said):
                self._say(event.line)
            elif isinstance(event, Broken):
                self._broken = f"broke the stdio-json protocol: {event.reason}"
                self._condemn(self._broken)

    def _say(self, line: bytes) -> None:
        if self._log is not None and self._admit is not None and self._admit() > 0:
            self._log(line)

    def _end_if_it_stays(self, reason: str) -> None:
        self._loop.call_later(SILENT_S, self._condemn, reason)

    def _condemn(self, reason: str) -> None:
        if self._process is not None and not self._process.exited.done():
            self._process.condemn(reason)

    def _close_input(self) -> None:
        """Let the program see the end of its input, also when it does not read what was written before."""
        self._left = True
        if self._input is None:
            return
        if self._input.get_write_buffer_size():
            self._input.abort()
        else:
            self._input.close()


class _Output(asyncio.Protocol):
    """Reads the program's standard output."""

    def __init__(self, channel: StdioChannel) -> None:
        self._channel = channel

    def data_received(self, data: bytes) -> None:
        self._channel.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.output_ended()


class _Input(asyncio.BaseProtocol):
    """Notices when the program reads its standard input no more."""

    def __init__(self, channel: StdioChannel) -> None:
        self._channel = channel

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.input_ended()


def _resolve(answer: asyncio.Future[Document], document: Document) -> None:
    if not answer.done():
        answer.set_result(document)
