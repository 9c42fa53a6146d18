"""docs/delivery.md shows the states that the programs have, and says something about each."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import MappingProxyType, ModuleType

import pytest

from aisops_core.dispatch.deadlines import LIMITS
from aisops_core.dispatch.job import JobEvent, JobState
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.resolution import Verdict

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_states", ROOT / "scripts" / "draw_states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_drawings_are_fresh(script: ModuleType) -> None:
    assert script.drawn(PAGE) == PAGE, "run `make states` and commit the result"


def test_a_changed_table_makes_the_page_stale(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {**script.TRANSITIONS, JobState.QUEUED: {JobEvent.DOUBT: JobState.UNCERTAIN}}
    monkeypatch.setattr(script, "TRANSITIONS", MappingProxyType(changed))
    monkeypatch.setattr(script, "LIMITS", dict.fromkeys(JobState, ()))
    assert script.drawn(PAGE) != PAGE


@pytest.mark.parametrize("name", ["job", "sidecar"])
def test_a_page_without_a_place_for_a_drawing_is_refused(script: ModuleType, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        script.drawn(PAGE.replace(f"<!-- {name}: begin", "<!-- gone"))


def test_every_state_limit_and_decision_is_explained() -> None:
    prose = re.sub(r"(?s)<!-- (\w+): begin.*?<!-- \1: end -->", "", PAGE)
    for state in JobState:
        assert re.search(rf"(?m)^\| [\w, ]*\b{state.value}\b[\w, ]* \|", prose), state
    for limit in {limit.name for limits in LIMITS.values() for limit in limits}:
        assert f"| `{limit}` |" in prose
    for verdict in Verdict:
        assert f"| `{verdict.value}` |" in prose


def test_the_numbers_of_the_page_are_the_programs() -> None:
    terms = LeaseTerms()
    assert f"({terms.lease_s:.0f} s + {terms.grace_s:.0f} s)" in PAGE
    assert f"+ {terms.start_s:.0f} s to start" in PAGE
    assert f"{terms.cancel_s:.0f} s after a cancellation" in PAGE
