"""Which environment is in use, which before, what may go: any order of commands keeps the promises."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aisops_runner.adapters.discovery import Place
from aisops_runner.environments.shelf import BOTH, Environment, Shelf, Standing
from aisops_runner.errors import PluginRefused

NAMES = st.sampled_from(["acme", "other"])


def environment(name: str, number: int) -> Environment:
    return Environment(f"{name}-{number}-{number:08x}", name, "m:p", name, str(number), "record:1", number)


class Commands(RuleBasedStateMachine):
    """Commands in any order, beside the plainest model: for each plugin a list of its versions, the one in use last."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf()
        self.model: dict[str, list[Environment]] = {}
        self.built: dict[str, bool] = {}
        self.number = 0

    @rule(name=NAMES, whole=st.booleans())
    def build(self, name: str, whole: bool) -> None:
        """A command builds an environment; it is killed before it uses it, or even before the thing is whole."""
        self.number += 1
        self.built[environment(name, self.number).id] = whole

    @rule(name=NAMES)
    def put(self, name: str) -> None:
        self.number += 1
        new = environment(name, self.number)
        self.built[new.id] = True
        self.shelf = self.shelf.put(new)
        self.model[name] = [*self.model.get(name, [])[-1:], new]

    @rule(name=NAMES)
    def back(self, name: str) -> None:
        versions = self.model.get(name, [])
        if len(versions) < 2:
            with pytest.raises(PluginRefused):
                self.shelf.back(name)
        else:
            self.shelf = self.shelf.back(name)
            self.model[name] = versions[::-1]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        self.shelf = self.shelf.without(name)
        del self.model[name]

    @rule(old_too=st.booleans(), busy=st.booleans())
    def sweep(self, old_too: bool, busy: bool) -> None:
        in_use = sorted(self.built)[:1] if busy else []
        for gone in self.shelf.unneeded(self.built, in_use=in_use, old_too=old_too):
            assert gone not in in_use
            assert old_too or not self.built[gone]
            del self.built[gone]
        if old_too and not busy:
            assert set(self.built) == {one.id for versions in self.model.values() for one in versions}

    @invariant()
    def what_is_in_use_and_before_is_as_commanded_and_stands(self) -> None:
        assert set(self.shelf.holdings) == set(self.model)
        for name, versions in self.model.items():
            held = self.shelf.holdings[name]
            assert [one for one in (held.before, held.now) if one] == versions
            assert all(one.id in self.built for one in versions)
            assert self.shelf.standing(held.now.id, whole=True) is Standing.NOW


TestCommands = Commands.TestCase


def test_what_nothing_names_is_old_or_half_made() -> None:
    shelf = Shelf().put(environment("acme", 1)).put(environment("acme", 2))
    assert shelf.standing(environment("acme", 1).id, whole=True) is Standing.BEFORE
    assert shelf.standing("x", whole=True) is Standing.OLD
    assert shelf.standing("x", whole=False) is Standing.HALF_MADE


def test_switching_counts_places_apart() -> None:
    shelf = Shelf().switched("acme", off=BOTH).switched("acme", on=frozenset({Place.OWN}))
    assert shelf.off == {"acme": frozenset({Place.BESIDE})}
    assert shelf.switched("acme", on=BOTH).off == {}


def test_a_plugin_that_comes_again_is_not_disabled_for_what_was_before() -> None:
    shelf = Shelf().put(environment("acme", 1)).switched("acme", off=BOTH).without("acme")
    assert shelf.off == {"acme": frozenset({Place.BESIDE})}
