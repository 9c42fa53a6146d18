"""A name in two places is used from neither, until it is disabled in one."""

import itertools

import pytest

from aisops_runner.adapters.discovery import Discovery, Duplicate, Installed, Place
from aisops_runner.adapters.places import Elsewhere, merge

BESIDE = Installed("slack", "s:p", "pkg-beside", "1", "record:1")
OWN = Installed("slack", "s:p", "pkg-own", "2", "record:2", "/data/venv/bin/python")
TWICE = Duplicate("slack", ("one 1", "two 2"))
SILENCES = [frozenset(), frozenset({Place.BESIDE}), frozenset({Place.OWN}), frozenset({Place.BESIDE, Place.OWN})]


def merged(beside: Discovery, own: list[Installed], off: frozenset[Place]) -> Discovery:
    return merge(beside, Elsewhere(tuple(own), {"slack": off} if off else {}))


def test_a_name_in_both_places_is_refused_with_both_named_and_a_way_out() -> None:
    found = merged(Discovery((BESIDE,)), [OWN], frozenset())
    assert found.installed == ()
    assert "beside the Runner by pkg-beside 1" in found.duplicates[0].reason
    assert "environment of its own by pkg-own 2" in found.duplicates[0].reason
    assert "plugin disable slack --beside (or --own)" in found.duplicates[0].reason


@pytest.mark.parametrize(("off", "used"), [(Place.BESIDE, OWN), (Place.OWN, BESIDE)])
def test_disabled_in_one_place_it_is_used_from_the_other(off: Place, used: Installed) -> None:
    assert merged(Discovery((BESIDE,)), [OWN], frozenset({off})) == Discovery((used,))


def test_disabled_everywhere_it_is_listed_and_off() -> None:
    for beside, own in (((BESIDE,), []), ((), [OWN]), ((BESIDE,), [OWN])):
        found = merged(Discovery(beside), own, frozenset(Place))
        assert [one.name for one in found.installed] == ["slack"]
        assert found.off == {"slack"}


def test_two_packages_beside_the_runner_stay_refused_beside_a_third() -> None:
    found = merged(Discovery((), (TWICE,)), [OWN], frozenset())
    assert "one 1 and two 2" in found.duplicates[0].reason
    assert "pkg-own 2" in found.duplicates[0].reason
    assert merged(Discovery((), (TWICE,)), [OWN], frozenset({Place.BESIDE})).installed == (OWN,)
    assert merged(Discovery((), (TWICE,)), [], frozenset({Place.BESIDE})).duplicates == (TWICE,)


@pytest.mark.parametrize("case", [*itertools.product([(), (BESIDE,)], [(), (TWICE,)], [[], [OWN]], SILENCES)])
def test_every_name_comes_out_exactly_once(
    case: tuple[tuple[Installed, ...], tuple[Duplicate, ...], list[Installed], frozenset[Place]],
) -> None:
    beside, twice, own, off = case
    if beside and twice:
        return  # discovery lists a name as one or the other
    found = merged(Discovery(beside, twice), own, off)
    names = [one.name for one in (*found.installed, *found.duplicates)]
    assert names == (["slack"] if beside or twice or own else [])
    assert found.off <= {one.name for one in found.installed}
