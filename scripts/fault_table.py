"""Writes README's table of faults from the JSON of a run: `make chaos` with `--save docs/fault-suite.json`, then this.

python scripts/fault_table.py            # write the table
python scripts/fault_table.py --check    # exit 1 when README shows something else than the captured run
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CAPTURED = ROOT / "docs" / "fault-suite.json"
README = ROOT / "README.md"
SECTION = re.compile(r"(<!-- faults -->\n).*?(<!-- /faults -->)", re.DOTALL)
COUNTED = ("attempted", "acknowledged", "lost", "unexpected", "recovered", "duplicated", "uncertain")


def section(run: dict[str, Any]) -> str:
    """The table of one captured run, with what was not run and how the self-test went."""
    heads = ("", "fault", "injected", *COUNTED)
    lines = [_line(heads), _line(["---", "---", "---", *("--:" for _ in COUNTED)])]
    lines += [_line(_cells(row)) for row in run["rows"]]
    seed = f"seed {run['seed']}" if run["seed"] is not None else "seeds in `docs/fault-suite.json`"
    words = f"{run['summary']}. The {run['form']} form, {seed}, {_lasted(run['seconds'])} of faults on two cores."
    proof = [
        f"{row['title'].removeprefix('mutant: ')} ({row['id']}: {_harm(row['counts'])})"
        for row in run["self_test"]
        if row["verdict"] == "passed"
    ]
    found_out = f"\nBroken on purpose and found out: {'; '.join(proof)}.\n" if proof else ""
    return "\n".join(lines) + f"\n\n{words}\n{found_out}"


def _lasted(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds > 2 * 3600 else f"{round(seconds / 60)} minutes"


def _cells(row: dict[str, Any]) -> list[str]:
    name = f"**{row['id']}**"
    if row["verdict"] in {"skipped", "coming"}:
        return [name, row["title"], f"{row['verdict']}: {'; '.join(row['problems'])}", *("" for _ in COUNTED)]
    failed = " · **FAILED**" if row["verdict"] == "FAILED" else ""
    counts = (f"{row['counts'][name]:,}" for name in COUNTED)
    return [name, row["title"], f"{row['runs']:,} {row['unit']}{failed}", *counts]


def _harm(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in ("lost", "duplicated") if counts[name])


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description="README's table of faults, from docs/fault-suite.json.")
    parser.add_argument("--check", action="store_true", help="change nothing; 1 when README is out of date")
    arguments = parser.parse_args()
    shown = README.read_text()
    fresh = SECTION.sub(lambda found: found[1] + section(json.loads(CAPTURED.read_text())) + found[2], shown)
    if arguments.check:
        return int(fresh != shown)
    README.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
