"""One unit of work on the outbox: what it may touch, and how messages join the lane in the same commit."""

from __future__ import annotations

import sqlite3

from aisops_protocol.errors import ProtocolError
from aisops_protocol.limits import ENVELOPE_BYTES
from aisops_protocol.messages import RunnerBody
from aisops_runner.errors import EnvelopeTooLarge
from aisops_runner.outbox import store
from aisops_runner.outbox.rows import Draft, Row


class Transaction:
    """One unit of work: the connection, and the messages that join the lane in the same commit.

    Messages are numbered at once, made rows and inserted together at the end.

    Attributes:
        connection: Inside the open transaction.
        rows: What joined the lane.
        rewritten: Rows that stood in the lane before were changed.
        urgent: Somebody waits for one of the rows.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.rows: list[Row] = []
        self.rewritten = False
        self.urgent = False
        self._drafts: list[Draft] = []
        self._first = 0

    def append(self, *drafts: Draft) -> int:
        """Add messages to the lane; returns the number of the last one (0 when there was none)."""
        if not drafts:
            return 0
        if not self._first:
            self._first = store.next_seq(self.connection)
        self._drafts += drafts
        return self._first + len(self._drafts) - 1

    def finish(self) -> None:
        """Insert what was appended."""
        numbered = store.number(self._drafts, self._first)
        store.insert(self.connection, numbered)
        self.urgent = bool(self.rows) or not all(one.patient for one in self._drafts)
        self.rows += [row for row, _ in numbered]


def draft(body: RunnerBody) -> Draft:
    """Encode a message for the lane, refusing what could never be sent.

    Raises:
        EnvelopeTooLarge: It breaks a limit of the contract.
    """
    try:
        made = store.draft(body)
    except ProtocolError as error:
        raise EnvelopeTooLarge(f"a {type(body).__name__} cannot be sent: {error.message}") from error
    if len(made.payload) > ENVELOPE_BYTES:
        raise EnvelopeTooLarge(
            f"a {type(body).__name__} of {len(made.payload)} octets cannot be sent; the limit is {ENVELOPE_BYTES}"
        )
    return made
