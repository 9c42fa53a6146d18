"""What must change in a running Runner."""

from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.adapters.discovery import Installed
from aisops_runner.sidecars.turnover import turnover

MAPS = st.dictionaries(
    st.sampled_from("abcd"), st.sampled_from("12").map(lambda version: Installed("n", "m:p", "d", version, "r"))
)


@given(MAPS, MAPS)
def test_applied_to_what_serves_it_gives_what_is_wanted(
    serving: dict[str, Installed], wanted: dict[str, Installed]
) -> None:
    turn = turnover(serving, wanted)
    result = {name: found for name, found in serving.items() if name not in turn.removed}
    result |= {name: wanted[name] for name in (*turn.added, *turn.changed)}
    assert result == wanted
    assert not set(turn.added) & set(serving)
    assert all(serving[name] != wanted[name] for name in turn.changed)
