"""A stdio-json program: its lines carried to and from the machine that understands them, and its calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from pydantic_core import to_json

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_runner.adapters.calls import Call, CallError
from aisops_runner.adapters.foreign.routes import channel_body, missing, several, today
from aisops_runner.adapters.kinds import Foreign
from aisops_runner.errors import SidecarStartFailed
from aisops_runner.sidecars.answers import DIED
from aisops_runner.sidecars.calling import HEALTH_S
from aisops_runner.sidecars.foreign.answers import read_line
from aisops_runner.sidecars.foreign.calls_under_way import CallsUnderWay
from aisops_runner.sidecars.foreign.client import unset_text
from aisops_runner.sidecars.foreign.lines import LINE_BYTES, Answered, Broken, Event, Said, StdioMachine
from aisops_runner.sidecars.process import STOP_STEP_S, SidecarProcess
from aisops_runner.sidecars.replies import BatchReply, Ended

LAST_ANSWERS_S: Final = 0.5
"""What an ended program had written is read for so long before its calls are given up."""
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


class StdioClient:
    """Calls one stdio-json program; `close` ends every call in flight.

    Args:
        channel: Its pipes.
        process: The program.
        foreign: How it spells its capabilities.
        unset: Variables that its manifest requires and nobody set.
    """

    def __init__(
        self, channel: StdioChannel, process: SidecarProcess, foreign: Foreign, *, unset: Sequence[str] = ()
    ) -> None:
        self._channel = channel
        self._process = process
        self._spelling = foreign.spelling
        self._unset = tuple(unset)
        self._under_way = CallsUnderWay()
        self._closed = False

    def start(self, call: Call, timeout_s: float, ended: Ended) -> Callable[[], None]:
        """Run one call; returns at once with what gives it up."""
        try:
            if self._closed or self._process.exited.done():
                raise _NotMade(CallError(DIED, "the program has ended", retryable=True))
            identity = self._invoke(call)
        except _NotMade as refusal:
            asyncio.get_running_loop().call_soon(ended, [(call, refusal.error)])
            return _nothing
        self._under_way.begin(identity, call, ended, timeout_s=timeout_s, late=partial(self._late, identity, timeout_s))

        def give_up() -> None:
            self._under_way.give_up(identity)
            self._channel.forget(identity)

        return give_up

    def start_batch(self, calls: Sequence[tuple[Call, float]], ended: Ended) -> BatchReply:
        """Never called: stdio-json has no batches, and no manifest made here says otherwise."""
        raise NotImplementedError

    async def healthy(self) -> bool:
        """Whether it answers its probe. Not asked during a call: some programs do one thing at a time."""
        if len(self._under_way):
            return True
        try:
            async with asyncio.timeout(HEALTH_S):
                return (await self._channel.probe()).get("ok") is True
        except TimeoutError:
            return False

    async def readiness(self) -> str:
        """What is missing."""
        return unset_text(self._unset) if self._unset else ""

    async def cancel(self, job_id: str) -> None:
        """stdio-json has no word for that."""

    async def shutdown(self, drain_s: float) -> bool:
        """Let the calls under way end; the end of its input then tells it to leave."""
        await self._under_way.drained(drain_s)
        return False

    async def close(self) -> None:
        """End the calls in flight, once what an ended program had still written was read."""
        self._closed = True
        if self._process.exited.done():
            await asyncio.wait((self._channel.closed,), timeout=LAST_ANSWERS_S)
        self._under_way.end_all(CallError(DIED, "the program ended before it answered", ambiguous=True))

    def _invoke(self, call: Call) -> str:
        if refusal := missing(call.capability, call.input):
            raise _NotMade(CallError("invalid_request", refusal))
        capability = self._spelling.get(call.capability, call.capability)
        many = several(call.capability, call.input)
        try:
            body = one_line(channel_body(today(call.capability), call.input))
            return self._channel.invoke(capability, body, partial(self._told, many=many))
        except (JsonTooLarge, ValueError) as error:
            raise _NotMade(CallError("body_too_large", str(error))) from None
        except JsonRefused as error:
            raise _NotMade(CallError("invalid_json", str(error))) from None

    def _told(self, identity: str, document: Document, *, many: bool) -> None:
        self._under_way.end(identity, read_line(document, several=many))

    def _late(self, identity: str, timeout_s: float) -> None:
        self._channel.forget(identity)
        self._under_way.end(identity, CallError("timeout", f"no answer within {timeout_s:g} s", ambiguous=True))


def one_line(body: bytes) -> bytes:
    """An input as one JSON value on one line.

    Raises:
        JsonRefused: It is no JSON that everybody reads in the same way.
        JsonTooLarge: It is larger than a line.
    """
    value = json_strict.loads(body, limit_bytes=LINE_BYTES)
    return to_json(value)


class _NotMade(Exception):
    """The call was not sent, for this reason."""

    def __init__(self, error: CallError) -> None:
        super().__init__(error.code)
        self.error = error


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


def _nothing() -> None:
    return
