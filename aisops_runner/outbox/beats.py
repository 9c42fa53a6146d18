"""Heartbeats that could not be sent: however long the Runner is offline, they take one row of the lane."""

from __future__ import annotations

from dataclasses import replace

from aisops_protocol.messages import Heartbeat
from aisops_runner.outbox import store
from aisops_runner.outbox.transaction import Transaction, draft


def count_in(transaction: Transaction, beat: Heartbeat, above: int) -> None:
    """Add a beat to the row of those not sent yet, or begin one.

    Args:
        transaction: The unit of work.
        beat: With `offline_beats` and `offline_ms` of this beat alone.
        above: Last number that was sent or acknowledged: rows up to it are never changed.
    """
    found = store.find_slot(transaction.connection, "heartbeat", above)
    if found is None or not isinstance(found[1], Heartbeat):
        transaction.append(draft(beat))
        return
    seq, old = found[0], found[1]
    beats, lasted_ms = old.offline_beats + beat.offline_beats, old.offline_ms + beat.offline_ms
    merged = draft(replace(beat, offline_beats=beats, offline_ms=lasted_ms))
    store.replace_payload(transaction.connection, seq, merged)
    transaction.rewritten = True
