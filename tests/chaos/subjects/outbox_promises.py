"""What `outbox_writer` was promised, held against what the Runner's own code finds in a folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from structlog.testing import capture_logs

from aisops_protocol.codec import decode_runner_body
from aisops_protocol.messages import Event, GapReport, RunnerBody, Skip
from aisops_runner.outbox.outbox import FILE_NAME, Outbox


@dataclass(frozen=True, slots=True)
class Promises:
    """Rows reported as stored, by number; those up to `gone` may have been deleted; how many tries were refused."""

    kept: dict[int, str]
    gone: int = 0
    failed: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, words: Iterable[bytes]) -> Promises:
        """Read what the program has said."""
        kept: dict[int, str] = {}
        failed: dict[str, int] = {}
        gone = 0
        for line in b"".join(words).splitlines():
            match line.split():
                case [b"kept", seq, kind]:
                    kept[int(seq)] = kind.decode()
                case [b"gone", seq]:
                    gone = max(gone, int(seq))
                case [b"failed", code]:
                    failed[code.decode()] = failed.get(code.decode(), 0) + 1
        return cls(kept, gone, failed)

    @property
    def binding(self) -> dict[int, str]:
        """What must be there."""
        return {seq: kind for seq, kind in self.kept.items() if seq > self.gone}


@dataclass(slots=True)
class Account:
    """What the Runner found: its rows by number, the numbers it reported as lost, and whether the file was whole."""

    rows: dict[int, RunnerBody] = field(default_factory=dict)
    reported: set[int] = field(default_factory=set)
    skipped: set[int] = field(default_factory=set)
    salvaged: bool = False
    integrity: str = ""

    def lost(self, promises: Promises) -> list[int]:
        """Promised rows that are not there as they were, whether reported or not."""
        return [seq for seq, kind in promises.binding.items() if not self._is(seq, kind)]

    def unnoticed(self, promises: Promises) -> list[int]:
        """Promised rows that are not there as they were, and nobody was told."""
        return [seq for seq in self.lost(promises) if seq not in self.reported]

    def stray(self, promises: Promises) -> list[int]:
        """Rows with another row's content under a promised number (the Runner's own reports may take a lost number)."""
        return [seq for seq, kind in self._ours() if seq in promises.kept and promises.kept[seq] != kind]

    def unpromised(self, promises: Promises) -> list[int]:
        """Rows that are there although the outbox had refused them."""
        return [seq for seq, kind in self._ours() if promises.kept.get(seq) != kind]

    def _ours(self) -> list[tuple[int, str]]:
        """Rows that the writer wrote: number and kind."""
        events = [(seq, body.kind) for seq, body in self.rows.items() if isinstance(body, Event)]
        return [(seq, kind) for seq, kind in events if kind[0].isdigit()]

    def _is(self, seq: int, kind: str) -> bool:
        body = self.rows.get(seq)
        return isinstance(body, Event) and body.kind == kind and body.data == data_of(kind)


def data_of(kind: str) -> bytes:
    """The data of a row, which follows from its kind."""
    return b'"' + b"x" * (int(kind.split(".")[1]) % 7 * 150) + b'"'


async def examine(folder: Path) -> Account:
    """Open a folder as a starting Runner does and read the whole lane as Core would get it.

    Raises:
        RunnerError: It cannot be opened.
        AssertionError: The lane has a hole, which Core would refuse.
    """
    account = Account()
    with capture_logs():  # its alarms would fill the screen
        await _read_lane(account, folder)
    with closing(sqlite3.connect(folder / FILE_NAME)) as database:
        account.integrity = str(database.execute("PRAGMA integrity_check").fetchone()[0])
    return account


async def _read_lane(account: Account, folder: Path) -> None:
    outbox = await Outbox.open(folder)
    try:
        account.salvaged = outbox.salvaged
        cursor = outbox.acked_seq
        while envelopes := await outbox.take(cursor, 256, 1_000_000):
            for envelope in envelopes:
                body = envelope.body or decode_runner_body(envelope.sealed)
                assert body is not None
                first = body.from_seq if isinstance(body, Skip) else envelope.seq
                assert first == cursor + 1, f"{first} follows {cursor}"
                cursor = envelope.seq
                _enter(account, envelope.seq, body)
    finally:
        await outbox.close()


def _enter(account: Account, seq: int, body: RunnerBody) -> None:
    if isinstance(body, Skip):
        account.skipped.update(range(body.from_seq, body.to_seq + 1))
    elif isinstance(body, GapReport):
        account.reported.update(range(body.from_seq, body.to_seq + 1))
    account.rows[seq] = body
