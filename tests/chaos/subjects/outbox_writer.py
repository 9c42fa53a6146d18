"""A program that does nothing but use the Runner's outbox hard, and says what it was promised.

    python -m tests.chaos.subjects.outbox_writer FOLDER WORDS ROWS

Each line of WORDS is `kept SEQ KIND` (the outbox has reported the row stored), `failed CODE` (it has refused it) or
`gone SEQ` (Core has everything up to there: the outbox may delete it).
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from aisops_protocol.messages import Event, LogEvent, LogLevel
from aisops_runner.errors import RunnerError
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.transaction import draft

LANES = 8
LAG = 40  # rows that Core is behind


class Writer:
    """Puts rows from several lanes at once and acknowledges them a little later."""

    def __init__(self, outbox: Outbox, words: int, rows: int) -> None:
        self._outbox, self._words, self._left = outbox, words, rows

    async def run(self) -> None:
        """Until so many rows were tried."""
        async with asyncio.TaskGroup() as group:
            for lane in range(LANES):
                group.create_task(self._lane(lane))

    async def _lane(self, lane: int) -> None:
        number = 0
        while self._left > 0:
            self._left -= 1
            number += 1
            kind = f"{lane}.{number}"
            drafts = [draft(Event(kind, number, b'"' + b"x" * (number % 7 * 150) + b'"'))]
            if number % 5 == 0:
                drafts.append(draft(LogEvent(LogLevel.INFO, f"line of {kind}", number)))
            try:
                last = await self._outbox.transact(lambda transaction, rows=drafts: transaction.append(*rows))
            except RunnerError as error:
                self._say(f"failed {error.code}")
                continue
            self._say(f"kept {last - len(drafts) + 1} {kind}")
            if number % 16 == 0 and last > LAG:
                self._say(f"gone {last - LAG}")
                self._outbox.ack(last - LAG)

    def _say(self, words: str) -> None:
        os.write(self._words, f"{words}\n".encode())


async def main(folder: Path, words: Path, rows: int) -> None:
    """Open, write, close."""
    handle = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    outbox = await Outbox.open(folder)
    try:
        await Writer(outbox, handle, rows).run()
    finally:
        await outbox.close()
        os.close(handle)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
