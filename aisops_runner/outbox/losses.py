"""Rows that a page read back shows to be damaged or missing: closed over in the lane, and told to whoever must know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from aisops_runner.outbox import store
from aisops_runner.outbox.store import Page
from aisops_runner.outbox.transaction import Transaction

OnLoss = Callable[[Transaction, int, int], None]
"""Runs in the commit that closes over a loss; gets the first and the last number lost."""

_log = structlog.get_logger("aisops_runner.outbox")


def repair_of(page: Page, after_seq: int, on_loss: OnLoss) -> Callable[[Transaction], None] | None:
    """The unit of work that closes over what is wrong with a page; None when it is whole.

    Args:
        page: As read.
        after_seq: The number it should follow.
        on_loss: Told of every loss in the same commit.
    """
    if page.damaged:
        _log.error("damaged rows were set aside", seqs=page.damaged)
        return partial(_report, damaged=page.damaged, on_loss=on_loss)
    if page.rows and page.rows[0].low > after_seq + 1:
        hole = (after_seq + 1, page.rows[0].low - 1)
        _log.error("numbers are missing from the outbox", low=hole[0], high=hole[1])
        return partial(_close_over, hole=hole, on_loss=on_loss)
    return None


def _report(transaction: Transaction, damaged: Sequence[int], on_loss: OnLoss) -> None:
    transaction.rewritten = True
    transaction.rows.extend(store.quarantine(transaction.connection, damaged, "checksum mismatch"))
    for seq in damaged:
        on_loss(transaction, seq, seq)


def _close_over(transaction: Transaction, hole: tuple[int, int], on_loss: OnLoss) -> None:
    transaction.rewritten = True
    transaction.rows.extend(store.fill(transaction.connection, [hole], "rows missing from the outbox file"))
    on_loss(transaction, *hole)


def nobody_told(_transaction: Transaction, _low: int, _high: int) -> None:
    """The `OnLoss` of an outbox that nobody has asked about losses."""
