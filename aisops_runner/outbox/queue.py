"""Rules of the durable lane: what goes next, what must give way, when to stop taking work. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from aisops_protocol.messages import MessageClass, RunnerEnvelope, Skip
from aisops_runner.outbox.rows import Row


class Pressure(Enum):
    """How full the outbox is, and what follows."""

    NORMAL = "normal"
    NO_NEW_JOBS = "no_new_jobs"
    NO_STARTS = "no_starts"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the lane may hold.

    Attributes:
        max_bytes: Everything together; results may go beyond it, because they are never dropped.
        logs_share: Share of `max_bytes` above which droppable rows give way.
        no_new_jobs: Share at which no job is accepted any more.
        no_starts: Share at which accepted jobs are not started any more.
        relief: Share of `max_bytes` freed at once, so that dropping is not done row by row.
    """

    max_bytes: int = 512 * 1024 * 1024
    logs_share: float = 0.5
    no_new_jobs: float = 0.8
    no_starts: float = 0.95
    relief: float = 0.05

    def pressure(self, held_bytes: int) -> Pressure:
        """What a lane of this size means for new work."""
        if held_bytes >= self.max_bytes * self.no_starts:
            return Pressure.NO_STARTS
        if held_bytes >= self.max_bytes * self.no_new_jobs:
            return Pressure.NO_NEW_JOBS
        return Pressure.NORMAL

    def to_free(self, held_bytes: int) -> int:
        """Octets of droppable rows that must give way now; 0 while there is room."""
        limit = int(self.max_bytes * self.logs_share)
        if held_bytes <= limit:
            return 0
        return held_bytes - limit + int(self.max_bytes * self.relief)


@dataclass(frozen=True, slots=True)
class Hole:
    """Consecutive sequence numbers low..seq that give way together, standing for `count` messages."""

    low: int
    seq: int
    count: int


def holes(ranges: Iterable[tuple[int, int, int]]) -> list[Hole]:
    """Join (low, seq, count) ranges that touch, in order of sequence, so that one Skip speaks for each run."""
    joined: list[Hole] = []
    for low, seq, count in sorted(ranges):
        if joined and joined[-1].seq + 1 == low:
            last = joined[-1]
            joined[-1] = Hole(last.low, seq, last.count + count)
        else:
            joined.append(Hole(low, seq, count))
    return joined


def missing(present: Sequence[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """Numbers of first..last that no (low, seq) range of `present` (ascending) stands for, as ranges."""
    gaps: list[tuple[int, int]] = []
    expected = first
    for low, seq in present:
        if low > expected:
            gaps.append((expected, low - 1))
        expected = max(expected, seq + 1)
    if expected <= last:
        gaps.append((expected, last))
    return gaps


def select(rows: Iterable[Row], after_seq: int, max_messages: int, max_bytes: int) -> list[Row]:
    """The rows to send next: contiguous from `after_seq`, within the window.

    The first row goes whatever its size while any octet is left, because a message larger than what is left would
    otherwise wait for ever.

    Args:
        rows: Ascending, first one standing for `after_seq + 1`.
        after_seq: Last number handed to the wire.
        max_messages: Messages the window still takes.
        max_bytes: Octets the window still takes.
    """
    chosen: list[Row] = []
    room = max_bytes
    expected = after_seq + 1
    for row in rows:
        if len(chosen) >= max_messages or room <= 0 or (chosen and row.cost > room):
            break
        if row.low > expected or row.seq < expected:
            break
        chosen.append(row)
        room -= row.cost
        expected = row.seq + 1
    return chosen


def to_envelope(row: Row, after_seq: int) -> RunnerEnvelope:
    """The row as it is sent. A Skip that Core knows in part (`after_seq` lies inside) is cut to the rest."""
    skip = row.skip
    if skip is None:
        return RunnerEnvelope(body=None, seq=row.seq, message_id=row.message_id, sealed=row.payload)
    if skip.from_seq <= after_seq:
        skip = replace(skip, from_seq=after_seq + 1, count=min(skip.count, row.seq - after_seq))
    return RunnerEnvelope(body=skip, seq=row.seq, message_id=row.message_id)


def skip_for(hole: Hole, message_class: MessageClass) -> Skip:
    """The message that stands for a hole."""
    return Skip(from_seq=hole.low, to_seq=hole.seq, message_class=message_class, count=hole.count)
