"""Figures of one measurement, and how they are joined and shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """What one round measured: jobs per second, and the latency of single jobs in milliseconds."""

    jobs_per_s: float
    p50_ms: float
    p99_ms: float
    jobs: int

    @classmethod
    def of(cls, latencies_s: Sequence[float], elapsed_s: float) -> Figure:
        """Make a figure from every job's latency and the whole round's time, both in seconds."""
        ordered = sorted(latencies_s)
        return cls(
            jobs_per_s=len(ordered) / elapsed_s,
            p50_ms=1000 * ordered[len(ordered) // 2],
            p99_ms=1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
            jobs=len(ordered),
        )

    def document(self) -> dict[str, Any]:
        """Return the figure as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured, how it was loaded, over several rounds."""

    subject: str
    how: str
    rounds: tuple[Figure, ...]

    @property
    def median(self) -> Figure:
        """The median of each figure over the rounds."""
        return Figure(
            jobs_per_s=statistics.median(r.jobs_per_s for r in self.rounds),
            p50_ms=statistics.median(r.p50_ms for r in self.rounds),
            p99_ms=statistics.median(r.p99_ms for r in self.rounds),
            jobs=sum(r.jobs for r in self.rounds),
        )


def times(one: Measurement | None, other: Measurement | None) -> float | None:
    """Return `one`'s jobs/s as a multiple of `other`'s, or None when either is missing."""
    if one is None or other is None:
        return None
    return one.median.jobs_per_s / other.median.jobs_per_s


def ratio(one: Measurement | None, other: Measurement | None) -> str:
    """Return the multiple for people; a dash when there is none."""
    multiple = times(one, other)
    return "–" if multiple is None else f"{multiple:.2f}" if multiple < 10 else f"{multiple:.1f}"
