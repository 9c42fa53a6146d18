"""How much output one answer about many jobs may carry: pure.

A job's output may have 16 MiB and a request may be about a thousand jobs. What finds no room is left out of the answer,
which says so; each job's own document always has it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from aisops_core.dispatch.record import JobRecord

OUTPUT_ROOM_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class OutputLeftOut(JobRecord):
    """A copy of a record for an answer that has no room for its output."""

    @classmethod
    def of(cls, record: JobRecord) -> OutputLeftOut:
        """Copy a record without its output."""
        copy = cls(*[getattr(record, one.name) for one in fields(record)])
        copy.output = None
        return copy


class OutputRoom:
    """Room for the outputs of one answer; the first output always finds some."""

    def __init__(self, octets: int = OUTPUT_ROOM_BYTES) -> None:
        self._octets = octets
        self._left = octets

    def take(self, record: JobRecord) -> JobRecord:
        """The record as the answer may hold it: itself, or a copy that says that its output was left out."""
        size = len(record.output or b"")
        if size > max(0, self._left) and self._left < self._octets:
            return OutputLeftOut.of(record)
        self._left -= size
        return record
