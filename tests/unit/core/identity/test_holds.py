"""Which credentials are in use, and whose time is over."""

from __future__ import annotations

from aisops_core.identity.holds import SLACK, Hold, Holds


class Uses:
    """Holds of tokens, and who lost theirs."""

    def __init__(self) -> None:
        self.holds, self.lost = Holds(), []  # type: ignore[var-annotated]

    def begin(self, token_id: str, until: int | None = None, name: str = "") -> Hold:
        hold = Hold(token_id, until, lambda: self.lost.append(name or token_id))
        self.holds.add(hold)
        return hold


def test_every_use_of_a_lost_token_ends_once_and_no_other() -> None:
    uses = Uses()
    uses.begin("a", name="a1")
    uses.begin("a", name="a2")
    uses.begin("b")
    assert uses.holds.lose(["a", "unknown"]) == 2
    assert sorted(uses.lost) == ["a1", "a2"]
    assert uses.holds.lose(["a"]) == 0
    assert uses.holds.tokens() == ["b"]


def test_a_use_ends_when_its_time_is_over_and_one_that_ended_before_does_not() -> None:
    uses = Uses()
    uses.begin("a", 100)
    uses.holds.discard(uses.begin("b", 50))
    uses.begin("c")
    assert uses.holds.expire(99) == 0
    assert uses.holds.expire(100) == 1
    assert uses.lost == ["a"]
    assert len(uses.holds) == 1


def test_a_token_is_fresh_until_it_was_looked_at() -> None:
    uses = Uses()
    first = uses.begin("a")
    uses.begin("b")
    uses.holds.discard(first)
    assert uses.holds.take_fresh() == ["b"]
    assert uses.holds.take_fresh() == []
    uses.holds.look_again(["b"])
    assert uses.holds.take_fresh() == ["b"]


def test_uses_that_ended_are_forgotten_long_before_their_time() -> None:
    uses = Uses()
    uses.begin("stays", 10**15)
    for _ in range(10 * SLACK):
        uses.holds.discard(uses.begin("comes and goes", 10**15))
    assert len(uses.holds._ending) <= 2 + SLACK + 1
    assert uses.holds.expire(10**15) == 1
