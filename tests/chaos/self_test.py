"""Proof that the suite can fail: programs broken on purpose must turn the right rows red.

Each mutant is a folder with a `sitecustomize`, which Python loads by itself when the folder is on a child's path. The
product is not changed and has no switch for this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.chaos.registry import chosen
from tests.chaos.report import Row, Verdict
from tests.chaos.suite import Say, Suite

FOLDER = Path(__file__).parent / "mutants"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A way to break the product, and the fault that must find it out; `runs` injections of it have to be enough."""

    name: str
    broken: str
    fault: str
    runs: int

    @property
    def search(self) -> tuple[Path, ...]:
        """What comes first on the children's path."""
        return (FOLDER / self.name, FOLDER)


MUTANTS = (
    Mutant("synchronous_normal", "SQLite with synchronous=NORMAL", "F13", 160),
    Mutant("acks_before_commit", "Core acknowledges before it commits", "F2", 5),
    Mutant("no_queue_epoch", "one watermark, no queue epochs", "F12", 2),
)


async def self_test(home: Path, *, seed: int, say: Say, mutants: Sequence[Mutant] = MUTANTS) -> list[Row]:
    """Run each mutant's fault; a row passes when the fault has failed because something was lost or done twice."""
    rows = []
    for mutant in mutants:
        (fault,) = chosen({mutant.fault})
        folder = home / mutant.name
        folder.mkdir()
        suite = Suite(folder, seed=seed, full=False, say=say, search=mutant.search)
        (row,) = await suite.run([replace(fault, short=mutant.runs)])
        rows.append(_verdict(mutant, row))
    return rows


def _verdict(mutant: Mutant, row: Row) -> Row:
    """A row that could not run stays what it is; one that failed for another reason proves nothing."""
    named = replace(row, title=f"mutant: {mutant.broken}", injects=f"{row.injects} ({mutant.name})")
    if not row.ran:
        return named
    caught = row.verdict is Verdict.FAILED and (row.counts.lost or row.counts.duplicated)
    if caught:
        return replace(named, verdict=Verdict.PASSED, problems=())
    return replace(named, verdict=Verdict.FAILED, problems=(f"{mutant.fault} did not find it out", *row.problems))
