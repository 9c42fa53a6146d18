"""A program that does nothing but use the Runner's outbox hard, and says what it was promised.

    python -m tests.chaos.subjects.outbox_writer FOLDER WORDS ROWS [--lag ROWS] [--stay]

Each line of WORDS is `kept SEQ KIND` (the outbox has reported the row stored), `failed CODE` (it has refused it) or
`gone SEQ` (Core has everything up to there: the outbox may delete it). With `--stay` it keeps the outbox open
afterwards, until it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from aisops_protocol.messages import Event, LogEvent, LogLevel
from aisops_runner.errors import RunnerError
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.rows import Draft
from aisops_runner.outbox.transaction import Transaction, draft
from tests.chaos.subjects.outbox_promises import data_of

LANES = 8
STARTS = 200


class Writer:
    """Puts rows from several lanes at once and acknowledges them a little later."""

    def __init__(self, outbox: Outbox, words: int, rows: int, lag: int) -> None:
        self._outbox, self._words, self._left, self._lag = outbox, words, rows, lag

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
            drafts = [draft(Event(kind, number, data_of(kind)))]
            if number % 5 == 0:
                drafts.append(draft(LogEvent(LogLevel.INFO, f"line of {kind}", number)))
            try:
                last = await self._outbox.transact(partial(_append, drafts=drafts))
            except RunnerError as error:
                self._say(f"failed {error.code}")
                continue
            self._say(f"kept {last - len(drafts) + 1} {kind}")
            if number % 16 == 0 and last > self._lag:
                self._say(f"gone {last - self._lag}")
                self._outbox.ack(last - self._lag)

    def _say(self, words: str) -> None:
        os.write(self._words, f"{words}\n".encode())


async def _open(folder: Path, words: int) -> Outbox:
    """Start like a Runner that is started again when it ends: the disk may refuse for a while."""
    for _ in range(STARTS):
        try:
            return await Outbox.open(folder)
        except RunnerError as error:
            os.write(words, f"failed {error.code}\n".encode())
    return await Outbox.open(folder)


def _append(transaction: Transaction, drafts: Sequence[Draft]) -> int:
    return transaction.append(*drafts)


async def main(asked: argparse.Namespace) -> None:
    """Open, write, close."""
    handle = os.open(asked.words, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    outbox = await _open(asked.folder, handle)
    try:
        await Writer(outbox, handle, asked.rows, asked.lag).run()
        if asked.stay:
            await asyncio.Event().wait()
    finally:
        await outbox.close()
        os.close(handle)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("--lag", type=int, default=40, help="rows that Core is behind")
    parser.add_argument("--stay", action="store_true")
    asyncio.run(main(parser.parse_args()))
