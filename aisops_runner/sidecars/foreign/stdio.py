"""Calls of one stdio-json program, over its channel: each ends once, by its answer, its time, or the program's end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from pydantic_core import to_json

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_runner.adapters.calls import Call, CallError
from aisops_runner.adapters.foreign.routes import channel_body, missing, several, today
from aisops_runner.adapters.kinds import Foreign
from aisops_runner.sidecars.answers import DIED
from aisops_runner.sidecars.calling import HEALTH_S
from aisops_runner.sidecars.foreign.answers import read_line
from aisops_runner.sidecars.foreign.calls_under_way import CallsUnderWay
from aisops_runner.sidecars.foreign.channel import Document, StdioChannel
from aisops_runner.sidecars.foreign.client import unset_text
from aisops_runner.sidecars.foreign.lines import LINE_BYTES
from aisops_runner.sidecars.process import SidecarProcess
from aisops_runner.sidecars.replies import BatchReply, Ended

LAST_ANSWERS_S: Final = 0.5
"""What an ended program had written is read for so long before its calls are given up."""


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


def _nothing() -> None:
    return
