"""Who offers what: live sessions in groups of those that offer the same, so that thousands of them cost little.

A fleet has few different sets of capabilities. A session therefore shares its set with every other that offers the same
and stands in one list, not in one for each capability. Work still goes round among all who offer it, whatever else they
offer: the lists are merged by when each session was last given something.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import count
from operator import attrgetter
from typing import Generic, Protocol, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from aisops_protocol.messages import EffectClass, Hello

Group: TypeAlias = frozenset[str]


class Turned(Protocol):
    """What has a place in the order: the lower its turn, the longer it was given nothing."""

    turn: int


Session = TypeVar("Session", bound=Turned)


class Offered(dict[str, EffectClass]):
    """A set of capabilities. It is shared, so it is never changed."""

    __slots__ = ("__weakref__", "group")

    def __init__(self, capabilities: Mapping[str, EffectClass]) -> None:
        super().__init__(capabilities)
        self.group: Group = frozenset(capabilities)

    def without(self, capability: str) -> Offered:
        """The same but for one."""
        return Offered({name: effect for name, effect in self.items() if name != capability})


class Offers:
    """Every set of capabilities once."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[frozenset[tuple[str, EffectClass]], Offered] = WeakValueDictionary()

    def of(self, hello: Hello) -> Offered:
        """What this Runner offers, shared with every other that offers the same."""
        offered = {c.name: c.effect_class or EffectClass.AT_MOST_ONCE for c in hello.capabilities}
        return self._known.setdefault(frozenset(offered.items()), Offered(offered))


class Offering(Generic[Session]):
    """Sessions by tenant and by what they offer; those first that were given nothing for longest."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[Group, OrderedDict[str, Session]]] = {}
        self._turns = count(1)

    def add(self, tenant_id: str, group: Group, runner_id: str, session: Session) -> None:
        """A session begins to offer this."""
        session.turn = next(self._turns)
        self._tenants.setdefault(tenant_id, {}).setdefault(group, OrderedDict())[runner_id] = session

    def discard(self, tenant_id: str, group: Group, runner_id: str) -> None:
        """It offers this no more."""
        groups = self._tenants.get(tenant_id, {})
        members = groups.get(group, OrderedDict())
        members.pop(runner_id, None)
        if not members:
            groups.pop(group, None)
        if not groups:
            self._tenants.pop(tenant_id, None)

    def gave(self, tenant_id: str, group: Group, runner_id: str) -> None:
        """The session was given work: the others come first now."""
        members = self._tenants.get(tenant_id, {}).get(group, OrderedDict())
        if (session := members.get(runner_id)) is not None:
            session.turn = next(self._turns)
            members.move_to_end(runner_id)

    def having(self, tenant_id: str, capability: str) -> Iterator[Session]:
        """Sessions that offer this capability."""
        groups = self._tenants.get(tenant_id, {}).items()
        lists = [members.values() for group, members in groups if capability in group]
        return iter(lists[0]) if len(lists) == 1 else heapq.merge(*lists, key=attrgetter("turn"))
