"""What a Hello says about the lane, and what a Welcome leaves on record in it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from aisops_protocol.messages import EpochStart, QueueStats
from aisops_runner.outbox import schema, store
from aisops_runner.outbox.opening import openings_of
from aisops_runner.outbox.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a Hello says about the lane (see `messages.Hello`)."""

    queue_epoch: bytes
    epoch_start_seq: int
    next_seq: int
    oldest_unacked_seq: int
    previous_epochs: tuple[EpochStart, ...]
    journal_id: bytes
    last_core_epoch: bytes
    last_session_epoch: int
    stats: QueueStats


def take_inventory(connection: sqlite3.Connection, epoch: bytes, acked_seq: int) -> Inventory:
    """Read what the next Hello says.

    Args:
        connection: The outbox file.
        epoch: The opening under way.
        acked_seq: Last number acknowledged; its rows may still be stored.
    """
    openings = openings_of(connection)
    return Inventory(
        queue_epoch=epoch,
        epoch_start_seq=openings[-1].start_seq,
        next_seq=store.next_seq(connection),
        oldest_unacked_seq=max(acked_seq + 1, store.oldest(connection)),
        previous_epochs=tuple(EpochStart(one.epoch, one.start_seq) for one in openings[:-1]),
        journal_id=schema.get_meta(connection, "journal_id"),
        last_core_epoch=schema.get_meta(connection, "core_epoch"),
        last_session_epoch=int(schema.get_meta(connection, schema.SESSION_EPOCH) or b"0"),
        stats=store.stats(connection),
    )


def note_told(transaction: Transaction) -> None:
    """Put on record that Core may know every opening from now on: a Hello names them, whatever comes of that."""
    transaction.connection.execute("UPDATE epochs SET welcomed = ? WHERE welcomed = ?", (schema.TOLD, schema.UNTOLD))


def note_welcome(transaction: Transaction, core_epoch: bytes, session_epoch: int) -> None:
    """Put on record that Core knows every opening its Hello named, Core's own epoch, and which session this is."""
    transaction.connection.execute("UPDATE epochs SET welcomed = ?", (schema.WELCOMED,))
    schema.set_meta(transaction.connection, "core_epoch", core_epoch)
    schema.set_meta(transaction.connection, schema.SESSION_EPOCH, str(session_epoch).encode())
