"""Queue epochs: which openings of the outbox Core must still hear about. Pure.

Each opening draws a new epoch that starts at the next sequence number. Core resumes from the newest epoch it knows,
bounded by where every later one starts: that bound is what saves rows numbered a second time after a rollback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of the outbox.

    Attributes:
        epoch: 16 random octets.
        start_seq: The first number given under it.
        welcomed: Core has said Welcome to it.
        told: A Hello has named it, so Core may know it though its Welcome never came.
    """

    epoch: bytes
    start_seq: int
    welcomed: bool
    told: bool = False


def prune(openings: Sequence[Opening], keep: int) -> list[Opening]:
    """Forget what tells Core nothing, so that many starts without a connection do not push out what it knows.

    An opening Core never heard of matters only as a lower bound; it goes when it numbered nothing. One that Core may
    know stays: Core would miss it, and take the disk for one set back. Beyond `keep`, what Core never heard of goes
    first, and its bound moves to its successor (sending again what Core has is harmless, swallowing what it has not is
    loss); then the oldest, which Core expects to fall out of a full list.

    Args:
        openings: Oldest first; the newest is not among them.
        keep: How many may stay.

    Returns:
        Those that stay, oldest first.
    """
    kept = list(openings)
    for position in range(len(kept) - 2, -1, -1):
        one = kept[position]
        if not (one.welcomed or one.told) and one.start_seq >= kept[position + 1].start_seq:
            del kept[position]
    while len(kept) > keep:
        unheard = [place for place, one in enumerate(kept[:-1]) if not (one.welcomed or one.told)]
        if not unheard:
            del kept[0]
            continue
        gone = kept.pop(unheard[0])
        heir = kept[unheard[0]]
        kept[unheard[0]] = replace(heir, start_seq=min(heir.start_seq, gone.start_seq))
    return kept
