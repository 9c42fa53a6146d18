"""What a Core would have in its database: the rows a runner delivered, each once, and a watermark per queue epoch.

Pure: the rules of resuming are those of `aisops_protocol.resume`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from aisops_protocol.messages import Hello, JobResult, RunnerEnvelope
from aisops_protocol.resume import Resume, resume, watermarks

__all__ = ["Ledger", "Row"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One durable message as it was committed."""

    epoch: bytes
    envelope: RunnerEnvelope


class Ledger:
    """The memory of the kit's Core, over all sessions of one runner.

    Attributes:
        rows: What was committed, in order.
        marks: Queue epoch → highest number committed of its history.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.marks: dict[bytes, int] = {}

    def resume(self, hello: Hello) -> Resume:
        """Where this runner goes on."""
        return resume(hello, self.marks)

    def opened(self, hello: Hello, seq: int) -> None:
        """A session begins: its epoch is known from here on."""
        self.marks[hello.queue_epoch] = seq

    def commit(self, hello: Hello, envelopes: Sequence[RunnerEnvelope], upto_seq: int) -> None:
        """Store new rows and the watermark together."""
        self.rows += [Row(hello.queue_epoch, envelope) for envelope in envelopes]
        for epoch, seq in watermarks(hello, upto_seq).items():
            current = epoch == hello.queue_epoch
            self.marks[epoch] = seq if current else max(seq, self.marks.get(epoch, 0))

    def of(self, kind: type[T], job_id: str = "") -> list[T]:
        """Committed messages of a kind, of one job when it is named."""
        bodies = [row.envelope.body for row in self.rows if isinstance(row.envelope.body, kind)]
        return [body for body in bodies if not job_id or getattr(body, "job_id", "") == job_id]

    def results(self, job_id: str) -> list[JobResult]:
        """Every result stored for a job: more than one means that it was reported twice."""
        return self.of(JobResult, job_id)
