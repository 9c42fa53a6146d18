"""One table and one JSON document of what the suite found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from tests.chaos.tally import Counts

COUNTED = tuple(one.name for one in fields(Counts))


class Verdict(StrEnum):
    """How a row ended."""

    PASSED = "passed"
    FAILED = "FAILED"
    SKIPPED = "skipped"
    COMING = "coming"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one fault.

    Attributes:
        figures: Measurements beside the counts, by name.
        problems: What did not hold, or why the row was not run.
    """

    id: str
    title: str
    injects: str
    expected: str
    verdict: Verdict
    runs: int = 0
    unit: str = "runs"
    counts: Counts = field(default_factory=Counts)
    seed: int = 0
    seconds: float = 0.0
    figures: dict[str, float | int | str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def ran(self) -> bool:
        """Whether there is anything to count."""
        return self.verdict in {Verdict.PASSED, Verdict.FAILED}


def exit_code(rows: Iterable[Row]) -> int:
    """1 when any row failed."""
    return int(any(row.verdict is Verdict.FAILED for row in rows))


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal; what did not hold and why rows are missing stands below."""
    heads = ("", "fault", "injected", *COUNTED, "verdict", "seed", "s")
    lines = [_cells(row) for row in rows]
    widths = [max(len(line[column]) for line in (heads, *lines)) for column in range(len(heads))]
    left = {0, 1, 2, len(heads) - 3}

    def draw(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([draw(heads), *map(draw, lines), "", summary(rows), *_notes(rows)])


def summary(rows: Sequence[Row]) -> str:
    """The report line of a run."""
    ran = [row for row in rows if row.ran]
    total = sum((row.counts for row in ran), Counts())
    aside = [
        f"{len(found)} {verdict.value}"
        for verdict in (Verdict.FAILED, Verdict.SKIPPED, Verdict.COMING)
        if (found := [row for row in rows if row.verdict is verdict])
    ]
    runs = sum(row.runs for row in ran)
    counted = f"{total.attempted} attempted, {total.acknowledged} acknowledged, {total.lost} lost"
    return f"{len(ran)} faults, {runs} injections: {counted}, {total.duplicated} duplicated" + "".join(
        f"; {text}" for text in aside
    )


def tables(rows: Sequence[Row], proof: Sequence[Row]) -> str:
    """What a run prints: its rows, and how the programs broken on purpose fared."""
    parts = [table(rows)] if rows else []
    if proof:
        parts.append(f"The suite can fail: each of these, broken on purpose, was found out if passed\n\n{table(proof)}")
    return "\n" + "\n\n".join(parts)


def document(rows: Sequence[Row], proof: Sequence[Row] = (), *, seed: int | None, form: str, seconds: float) -> str:
    """The run as JSON. No seed: the rows have different ones."""
    body = {
        "seed": seed,
        "form": form,
        "seconds": round(seconds, 1),
        "summary": summary(rows),
        "rows": _documents(rows),
        "self_test": _documents(proof),
    }
    return json.dumps(body, indent=2, ensure_ascii=False)


def joined(texts: Sequence[str]) -> str:
    """One document of the shares of a run that went side by side, on one machine or several.

    Raises:
        ValueError: The shares are of different forms, or two of them ran the same fault.
    """
    forms = {str(json.loads(text)["form"]) for text in texts if rows_of(text)}
    if len(forms) != 1:
        raise ValueError(f"shares of one form can be joined, not of {' and '.join(sorted(forms)) or 'none'}")
    every = [row for text in texts for row in rows_of(text)]
    ran = {row.id for row in every if row.ran}
    rows = [row for row in every if row.ran or row.id not in ran]  # one machine may lack what another has
    proof = [row for text in texts for row in rows_of(text, "self_test")]
    if twice := sorted({row.id for row in rows if sum(one.id == row.id for one in rows) > 1}):
        raise ValueError(f"more than one share ran {', '.join(twice)}")
    rows.sort(key=lambda row: int(row.id.removeprefix("F")))
    seeds = {row.seed for row in rows if row.ran}
    seed = seeds.pop() if len(seeds) == 1 else None
    return document(rows, proof, seed=seed, form=forms.pop(), seconds=sum(row.seconds for row in (*rows, *proof)))


def _documents(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [{**asdict(row), "verdict": row.verdict.value} for row in rows]


def rows_of(text: str, part: str = "rows") -> list[Row]:
    """Read back what `document` wrote: its `rows`, or its `self_test`."""
    found: list[dict[str, Any]] = json.loads(text)[part]
    return [
        Row(
            **{
                **row,
                "verdict": Verdict(row["verdict"]),
                "counts": Counts(**row["counts"]),
                "problems": tuple(row["problems"]),
            }
        )
        for row in found
    ]


def _cells(row: Row) -> tuple[str, ...]:
    if not row.ran:
        return (row.id, row.title, "", *("" for _ in COUNTED), row.verdict.value, "", "")
    counted = (str(getattr(row.counts, name)) for name in COUNTED)
    injected = f"{row.runs} {row.unit}"
    return (row.id, row.title, injected, *counted, row.verdict.value, str(row.seed), f"{row.seconds:.0f}")


def _notes(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        if row.figures:
            lines.append(f"  {row.id}: " + " · ".join(f"{name} {value}" for name, value in row.figures.items()))
        lines += [f"  {row.id} {row.verdict.value}: {problem}" for problem in row.problems]
    return lines
