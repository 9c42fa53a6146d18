"""What a comparison of schemas claims is true of every instance of a small world, as a validator judges it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import Phase, event, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from aisops_plugin_sdk.diff import objects, subset
from aisops_plugin_sdk.diff.gaps import Gap, Kind
from aisops_plugin_sdk.diff.schemas import compare_schemas
from tests.support.schema_pairs import changed, counterexample, documents

PAIRS = documents().flatmap(lambda old: st.tuples(st.just(old), changed(old)))


def breaks(old: Any, new: Any, side: Any) -> bool:
    return any(finding.breaking for finding in compare_schemas(old, new, side))


@settings(max_examples=200)
@given(PAIRS)
def test_inputs_that_were_taken_are_taken_unless_it_says_otherwise(pair: tuple[Any, Any]) -> None:
    old, new = pair
    if not breaks(old, new, "input"):
        event("compatible" if old != new else "unchanged")
        assert counterexample(old, new) is None


@settings(max_examples=200)
@given(PAIRS)
def test_outputs_that_are_answered_are_what_was_expected_unless_it_says_otherwise(pair: tuple[Any, Any]) -> None:
    old, new = pair
    if not breaks(old, new, "output"):
        event("compatible" if old != new else "unchanged")
        assert counterexample(new, old) is None


@settings(max_examples=60)
@given(documents())
def test_a_schema_compared_with_itself_gives_nothing(document: Any) -> None:
    twin = copy.deepcopy(document)
    assert compare_schemas(document, twin, "input") == []
    assert compare_schemas(document, twin, "output") == []


FAULTS = {
    "fields": (objects, "_field_gaps", lambda *_: []),
    "conditions": (subset.Proof, "_compare_conditions", lambda *_: None),
    "values": (subset.Proof, "_value_gaps", lambda *_: []),
    "types": (subset, "_type_gap", lambda *_: Gap(Kind.DEFAULT_CHANGED, "", "")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_world_is_large_enough_to_find_a_rule_that_is_missing(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*FAULTS[fault])

    def lies(pair: tuple[Any, Any]) -> bool:
        return not breaks(*pair, "input") and counterexample(*pair) is not None

    try:
        find(PAIRS, lies, settings=settings(max_examples=2000, database=None, phases=[Phase.generate]))
    except NoSuchExample:
        pytest.fail("no pair of schemas shows that the rule is missing")
