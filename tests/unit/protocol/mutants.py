"""Worlds that are broken on purpose: a check that does not catch them checks nothing."""

from __future__ import annotations

from aisops_protocol import messages as m
from aisops_protocol.resume import resume
from aisops_protocol.session import Delivered
from tests.unit.protocol.world import World


class AcksBeforeCommit(World):
    """Core acknowledges what it has only received."""

    def take(self, event: Delivered) -> None:
        super().take(event)
        assert self.core is not None
        self.core.committed(event.upto_seq)


class HasNoEpochs(World):
    """One watermark for the Runner, whatever its queue file went through."""

    def resume_at(self, hello: m.Hello) -> int:
        seq = max(self.marks.values(), default=0)
        return min(max(seq, hello.oldest_unacked_seq - 1), hello.next_seq - 1)


class MarksOnlyTheCurrentEpoch(World):
    """Core does not credit earlier epochs with the rows it got of them."""

    def mark(self, seq: int) -> None:
        assert self.core is not None
        assert self.core.hello is not None
        self.marks[self.core.hello.queue_epoch] = seq


class ForgetsTheWatermark(World):
    """Rows and watermark in two transactions, and the second one may not happen."""

    def mark(self, seq: int) -> None:
        if self.rng.random() < 0.8:
            super().mark(seq)


class DeletesWhenSent(World):
    """The Runner takes sending for delivery."""

    def flush(self) -> None:
        super().flush()
        if self.runner is not None and self.runner.cursor:
            self.outbox.delete(self.runner.cursor)

    def resume_at(self, hello: m.Hello) -> int:
        return resume(hello, self.marks).seq


class ReusesNumbers(World):
    """A restarted outbox numbers from its own rows again, without a new epoch (the file was rolled back)."""

    def restart(self) -> None:
        self.cut()


MUTANTS = (AcksBeforeCommit, HasNoEpochs, MarksOnlyTheCurrentEpoch, ForgetsTheWatermark, DeletesWhenSent, ReusesNumbers)
