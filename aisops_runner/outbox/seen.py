"""Which outside events were stored already: the same one twice joins the lane once.

The newest keys are remembered, by count and not by age, so that a wrong clock forgets nothing. The table is made by the
first event, because most Runners have none.
"""

from __future__ import annotations

import hashlib

from aisops_runner.outbox.rows import Draft
from aisops_runner.outbox.transaction import Transaction

REMEMBERED = 10_000
_TABLE = "CREATE TABLE IF NOT EXISTS seen (ordinal INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE)"


def append_once(work: Transaction, source: str, key: str, message: Draft) -> bool:
    """Add a message to the lane unless one with this key was added before.

    Args:
        work: The transaction.
        source: Whose key it is.
        key: What tells the event from others of its source.
        message: The event.

    Returns:
        False when it was there already.
    """
    connection = work.connection
    connection.execute(_TABLE)
    digest = hashlib.sha256(f"{source}\0{key}".encode()).digest()
    done = connection.execute("INSERT OR IGNORE INTO seen (key) VALUES (?)", (digest,))
    if not done.rowcount:
        return False
    connection.execute("DELETE FROM seen WHERE ordinal <= ?", ((done.lastrowid or 0) - REMEMBERED,))
    work.append(message)
    return True
