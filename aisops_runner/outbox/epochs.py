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
        welcomed: Core has said Welcome to it, so Core may know it.
    """

    epoch: bytes
    start_seq: int
    welcomed: bool


def prune(openings: Sequence[Opening], keep: int) -> list[Opening]:
    """Forget what tells Core nothing, so that many starts without a connection do not push out what it knows.

    An opening Core never saw matters only as a lower bound; it goes when it numbered nothing, and beyond `keep` its
    bound moves to its successor (sending again what Core has is harmless, swallowing what it has not is loss).

    Args:
        openings: Oldest first; the newest is not among them.
        keep: How many may stay.

    Returns:
        Those that stay, oldest first.
    """
    kept = list(openings)
    for position in range(len(kept) - 2, -1, -1):
        if not kept[position].welcomed and kept[position].start_seq >= kept[position + 1].start_seq:
            del kept[position]
    while len(kept) > keep:
        position = next((place for place, one in enumerate(kept[:-1]) if not one.welcomed), 0)
        gone = kept.pop(position)
        if not gone.welcomed:
            heir = kept[position]
            kept[position] = replace(heir, start_seq=min(heir.start_seq, gone.start_seq))
    return kept
