"""The one table of a run: what was measured, beside what, against which target, and whether it was met.

`python -m bench.table FILE…` prints for a document what `python -m bench --json FILE` has kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Line:
    """One line. Texts are for people; `values` hold the same in numbers for `--json`.

    Attributes:
        what: What was measured.
        how: With how many jobs, streams or rows.
        figure: The figure, with its unit.
        p50_ms: Median latency; empty where there is none.
        p99_ms: Its 99th percentile.
        ratios: Multiples of the limit, of Celery at like durability, of dramatiq; a dash where nothing compares.
        target: What was promised; empty for what is only there to compare with.
        met: Whether it was kept; None without a target, or when what it compares with is missing.
        values: The numbers behind the texts.
    """

    what: str
    how: str
    figure: str
    p50_ms: str = ""
    p99_ms: str = ""
    ratios: tuple[str, str, str] = ("", "", "")
    target: str = ""
    met: bool | None = None
    values: dict[str, float] | None = None

    @property
    def verdict(self) -> str:
        """The verdict as a word."""
        if not self.target:
            return ""
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]


TITLES = ("what", "how", "figure", "p50 ms", "p99 ms", "× limit", "× Celery AOF", "× dramatiq", "target", "verdict")
WORDS = frozenset({"what", "how", "target", "verdict"})


def _cells(line: Line) -> tuple[str, ...]:
    return (line.what, line.how, line.figure, line.p50_ms, line.p99_ms, *line.ratios, line.target, line.verdict)


def show(lines: Sequence[Line], title: str, console: Console) -> None:
    """Print the table, and below it what was missed."""
    table = Table(title=title, title_justify="left")
    for heading in TITLES:
        table.add_column(heading, justify="left" if heading in WORDS else "right")
    for line in lines:
        table.add_row(*_cells(line), style="bold" if line.met is False else None)
    console.print(table)
    for line in lines:
        if line.met is False:
            console.print(f"MISSED: {line.what}, {line.how}: {line.figure}, where the target is {line.target}")


def markdown(lines: Iterable[Line]) -> str:
    """The same table for a document."""
    rows = [TITLES, tuple("---" if heading in WORDS else "--:" for heading in TITLES), *map(_cells, lines)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def main() -> None:
    """Print the tables of these files as one."""
    kept = [json.loads(Path(file).read_text()) for file in sys.argv[1:]]
    lines = [Line(**{**line, "ratios": tuple(line["ratios"])}) for one in kept for line in one["lines"]]
    print(markdown(lines), end="")


if __name__ == "__main__":
    main()
