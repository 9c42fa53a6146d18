"""What a fault of the suite is: its row in the table, how often it is injected, what it needs, what runs it.

Every file of `tests/chaos/faults` offers one fault or a family of them as `FAULTS`; `registry` finds them there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.trial import Trial


@dataclass(frozen=True, slots=True)
class Need:
    """Something a fault cannot be injected without. `missing` says why it is not there; empty: it is."""

    name: str
    missing: Callable[[], str]


def _no_root() -> str:
    return "" if os.geteuid() == 0 else "needs root"


ROOT = Need("root", _no_root)


def tool(program: str, package: str = "") -> Need:
    """A program that must be installed; `package` is what brings it, when that has another name."""

    def missing() -> str:
        return "" if shutil.which(program) else f"needs {program} (package {package or program})"

    return Need(program, missing)


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the suite.

    Attributes:
        id: `F1` … `F27`.
        title: A few words for the table.
        injects: What is done to the product, in a sentence.
        workload: What the product does meanwhile.
        expected: What must hold.
        run: Injects it and reports to the trial; None while `coming` says with what it comes.
        short: How often it is injected in the short form.
        full: And in the full one.
        unit: What is counted, `kills`.
        needs: What must be there.
        coming: What has to be built first.
        shared: Runs on the stage that stays up between faults, which saves starting one.
        limit_s: The short form is stopped, and has failed, after so many seconds; the full one after so many for each
            injection more.
        full_limit_s: The full one, where its injections last longer.
    """

    id: str
    title: str
    injects: str
    workload: str
    expected: str
    run: Callable[[Trial], Awaitable[None]] | None = None
    short: int = 1
    full: int = 1
    unit: str = "runs"
    needs: tuple[Need, ...] = ()
    coming: str = ""
    shared: bool = False
    limit_s: float = 240.0
    full_limit_s: float = 0.0

    @property
    def number(self) -> int:
        """For sorting: F10 comes after F9."""
        return int(self.id.removeprefix("F"))

    def why_not(self) -> str:
        """Why the fault cannot be injected here; empty when it can."""
        return "; ".join(filter(None, (need.missing() for need in self.needs)))

    def limit(self, runs: int, *, full: bool = False) -> float:
        """After how many seconds `runs` injections have failed."""
        if full and self.full_limit_s:
            return self.full_limit_s
        return self.limit_s * max(1.0, runs / max(1, self.short))
