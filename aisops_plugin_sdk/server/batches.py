"""Serves POST /v1/batch: starts every call of a batch and hands out the answers as the calls end, many at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

from aisops_plugin_sdk import batch
from aisops_plugin_sdk.secret import Redactor
from aisops_plugin_sdk.server import answers
from aisops_plugin_sdk.server.answers import Answer, CallOutcome
from aisops_plugin_sdk.server.call_lines import CallLine
from aisops_plugin_sdk.server.invocations import Ended

Start = Callable[[CallLine, Ended], Answer | None]


class BatchAnswer:
    """The answer of one batch, under way.

    Every call is answered as a single call would be; one that is slow, refused or broken concerns no other.

    Args:
        calls: what was received.
        start: starts one call, or returns the answer when it is refused; raises nothing.
        redactor: for the texts of errors.
    """

    def __init__(self, calls: list[CallLine], start: Start, redactor: Redactor) -> None:
        self._redactor = redactor
        self._left = len(calls)
        self._lines: list[bytes] = []
        self._moved = asyncio.Event()
        for call in calls:
            refusal = start(call, partial(self._ended, call.id))
            if refusal is not None:
                self._answer(call.id, refusal)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is to be written, piece by piece, until every call is answered."""
        while True:
            lines, self._lines = self._lines, []
            if lines:
                yield b"".join(lines)
            elif not self._left:
                return
            else:
                self._moved.clear()
                await self._moved.wait()

    def _ended(self, identity: str, outcome: CallOutcome) -> None:
        self._answer(identity, answers.invoked(outcome, self._redactor))

    def _answer(self, identity: str, answer: Answer) -> None:
        self._left -= 1
        self._lines.append(batch.write_answer(identity, answer.status, answer.body))
        self._moved.set()
