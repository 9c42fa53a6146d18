"""Draw the states of docs/delivery.md from the transition tables of the programs, so that the page cannot lie.

    python scripts/draw_states.py           redraw the diagrams and the table of owners and deadlines
    python scripts/draw_states.py --check   compare only; exit 1 when the page is stale

Each drawing stands between two comments that name it. Exit codes: 0 done or fresh, 1 stale.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from aisops_core.dispatch.deadlines import LIMITS, OWNERS, Limit
from aisops_core.dispatch.job import TERMINAL, TRANSITIONS, JobState
from aisops_protocol.session import diagram as session_diagram
from aisops_runner.jobs.stages import FOLLOWS, Stage
from aisops_runner.outbox.queue import Bounds, Pressure
from aisops_runner.sidecars.restart import TRANSITIONS as SIDECAR
from aisops_runner.sidecars.restart import State as SidecarState

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "delivery.md"
BEGIN = "<!-- {name}: begin (made by scripts/draw_states.py) -->"
END = "<!-- {name}: end -->"


def mermaid(lines: Iterable[str]) -> str:
    """A state diagram of these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"```mermaid\nstateDiagram-v2\n{body}```\n"


def job() -> str:
    """A job at Core: one arrow for each pair of states, the events in the order of the table."""
    lines = [f"[*] --> {JobState.QUEUED.value}: submitted"]
    for state, steps in TRANSITIONS.items():
        arrows: dict[JobState, list[str]] = {}
        for event, target in steps.items():
            arrows.setdefault(target, []).append(event.value)
        lines += [f"{state.value} --> {target.value}: {', '.join(events)}" for target, events in arrows.items()]
    lines += [f"{state.value} --> [*]" for state in JobState if state in TERMINAL]
    return mermaid(lines)


def limit_cell(state: JobState, limit: Limit) -> str:
    """One limit in words, with the states it can lead to."""
    targets = sorted({TRANSITIONS[state][event].value for event in limit.may})
    return f"`{limit.name}`: {limit.words} → {' or '.join(targets)}"


def owners() -> str:
    """Who must move a job next, and what Core does by itself when nobody does."""
    lines = ["| state | owner | limits, and what Core does at each |", "|---|---|---|"]
    for state in JobState:
        cells = [limit_cell(state, limit) for limit in LIMITS[state]] or ["– (the job has ended)"]
        lines.append(f"| {state.value} | {OWNERS[state].value} | {'<br>'.join(cells)} |")
    return "\n".join(lines) + "\n"


def execution() -> str:
    """A job at the Runner."""
    lines = [f"[*] --> {Stage.STORING.value}: a Job arrived", f"[*] --> {Stage.UNCONFIRMED.value}: found at start"]
    for stage, targets in FOLLOWS.items():
        lines += [f"{stage.value} --> {target.value}: {why}" for target, why in targets.items()]
    lines.append(f"{Stage.FINISHING.value} --> [*]: the result is on the disk")
    return mermaid(lines)


def session() -> str:
    """A session, as in docs/protocol.md."""
    return f"```mermaid\n{session_diagram()}```\n"


def pressure() -> str:
    """How full the outbox is, found by asking the rule itself at every percent."""
    bounds = Bounds(max_bytes=100)
    starts: dict[Pressure, int] = {}
    for percent in range(101):
        starts.setdefault(bounds.pressure(percent), percent)
    order = sorted(starts, key=starts.__getitem__)
    lines = [f"[*] --> {order[0].value}"]
    for low, high in itertools.pairwise(order):
        lines.append(f"{low.value} --> {high.value}: {starts[high]} % full")
        lines.append(f"{high.value} --> {low.value}: below {starts[high]} %")
    return mermaid(lines)


def sidecar() -> str:
    """A plugin's sidecar."""
    lines = [f"[*] --> {SidecarState.INSTALLED.value}"]
    for state, targets in SIDECAR.items():
        lines += [f"{state.value} --> {target.value}" for target in SidecarState if target in targets]
        lines += [] if targets else [f"{state.value} --> [*]"]
    return mermaid(lines)


DRAWINGS: Mapping[str, Callable[[], str]] = {
    "job": job,
    "owners": owners,
    "execution": execution,
    "session": session,
    "pressure": pressure,
    "sidecar": sidecar,
}


def drawn(page: str) -> str:
    """The page with every drawing made anew.

    Raises:
        ValueError: The page has no place for one of them.
    """
    for name, draw in DRAWINGS.items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"the page needs the comments {begin} and {end} once each")
        place = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        text = f"{begin}\n{draw()}{end}"
        page = place.sub(lambda _, text=text: text, page)  # type: ignore[misc]
    return page


def main() -> int:
    """Read the one option and do it."""
    parser = argparse.ArgumentParser(description="Draw the states of docs/delivery.md from the transition tables.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when the page is stale")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    fresh = drawn(page)
    if options.check:
        if page != fresh:
            print(f"{PAGE.relative_to(ROOT)} is stale: run `make states` and commit the result")
        return int(page != fresh)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
