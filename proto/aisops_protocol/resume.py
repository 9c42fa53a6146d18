"""Where the durable lane goes on after a reconnect: rules over queue epochs and watermarks, no I/O.

Sequence numbers run on across queue epochs (docs/adr/0002). An epoch is one opening of the Runner's outbox; the rows
numbered since then are its own, the rows below belong to earlier epochs. Core keeps one watermark per (Runner, epoch):
the highest number it has committed of that epoch's history. After a rollback of the Runner's disk the same numbers are
given again, but under a new epoch, and Core's watermark of the lost epochs says nothing about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisops_protocol import limits
from aisops_protocol.messages import EpochStart, Hello

__all__ = ["Resume", "Share", "forgotten", "resume", "set_back", "unfinished", "watermarks"]


@dataclass(frozen=True, slots=True)
class Resume:
    """Core's decision about the durable lane.

    Attributes:
        seq: Highest number that counts as committed; the Runner sends from the next one.
        gap: First and last number that Core never got and the Runner no longer has; None when nothing is missing.
    """

    seq: int
    gap: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """The rows of an earlier epoch end with number `last`."""

    epoch: bytes
    last: int


def resume(hello: Hello, known: Mapping[bytes, int]) -> Resume:
    """Decide where this Runner goes on, given the watermarks Core has for its queue epochs.

    The newest epoch Core knows counts, but never beyond the point where a later epoch took over, nor beyond what the
    Runner has numbered, nor below what the Runner has deleted (the difference is the gap).
    """
    last = hello.next_seq - 1
    deleted = hello.oldest_unacked_seq - 1
    for epoch in reversed((*hello.previous_epochs, EpochStart(hello.queue_epoch, hello.epoch_start_seq))):
        if epoch.epoch in known:
            seq = min(known[epoch.epoch], last)
            return Resume(seq) if seq >= deleted else Resume(deleted, (seq + 1, deleted))
        last = min(last, epoch.start_seq - 1)
    return Resume(deleted)


def forgotten(hello: Hello, known: Mapping[bytes, int]) -> frozenset[bytes]:
    """Epochs of which Core has committed messages that this Hello's history does not hold.

    There are none when the Runner simply went on. There are some when its disk was set back, or is a copy that went its
    own way: such a Runner may have begun jobs of which its journal knows nothing. A Hello names so many openings and no
    more: one that ended before the oldest of a full list has fallen out of it and is not missing.
    """
    ends = {hello.queue_epoch: hello.next_seq - 1}
    end = min(hello.next_seq, hello.epoch_start_seq) - 1
    for epoch in reversed(hello.previous_epochs):
        ends[epoch.epoch] = end
        end = min(end, epoch.start_seq - 1)
    full = len(hello.previous_epochs) >= limits.PREVIOUS_EPOCHS
    fallen_out = hello.previous_epochs[0].start_seq if full else 0
    return frozenset(epoch for epoch, seq in known.items() if seq > ends.get(epoch, fallen_out - 1))


def set_back(hello: Hello, confirmed_epoch: int) -> bool:
    """Whether this Runner's disk is certainly older than a session that Core has heard from (0: from none).

    Watermarks show that only when something durable of the lost history has arrived; this shows it also when the line
    was cut before the JobAccept of a job that was begun.
    """
    return bool(hello.feature_bits & limits.FEATURE_SESSION_EPOCH) and hello.last_session_epoch < confirmed_epoch


def watermarks(hello: Hello, seq: int) -> dict[bytes, int]:
    """What Core has of every epoch's history once it has committed up to `seq` in this Hello's session.

    Earlier epochs are raised to their share, so that a later rollback to them does not store their rows twice. For them
    Core keeps the higher of this and what it has; for the current epoch it writes this (a machine restored with its
    memory goes back in time without a new opening, and `resume` then rightly answers with less).
    Once `seq` is at or above `epoch_start_seq` the earlier shares no longer change: only the current one needs writing.
    """
    shares = {hello.queue_epoch: seq}
    end = hello.epoch_start_seq - 1
    for epoch in reversed(hello.previous_epochs):
        shares[epoch.epoch] = min(seq, end)
        end = min(end, epoch.start_seq - 1)
    return shares


def unfinished(hello: Hello, seq: int) -> tuple[Share, ...]:
    """Earlier epochs that have rows after `seq`: each commit of this session raises what Core has of them, too."""
    found = []
    end = hello.epoch_start_seq - 1
    for epoch in reversed(hello.previous_epochs):
        if end > seq:
            found.append(Share(epoch.epoch, end))
        end = min(end, epoch.start_seq - 1)
    return tuple(found)
