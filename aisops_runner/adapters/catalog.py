"""Which plugin serves which capability. Pure: two plugins claiming one capability get neither, until bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from aisops_protocol.messages import Capability


@dataclass(frozen=True, slots=True)
class Conflict:
    """One capability claimed by several plugins and served by none, until the operator binds it."""

    capability: str
    plugins: tuple[str, ...]

    @property
    def reason(self) -> str:
        """One line for people: what is wrong and how to solve it."""
        claimants = " and ".join(self.plugins)
        return (
            f"capability {self.capability} is claimed by {claimants}; name one under [bindings]: "
            f'"{self.capability}" = "{self.plugins[0]}"'
        )


@dataclass(frozen=True, slots=True)
class Catalog:
    """The ruling: what is served by whom, and what is refused."""

    served: Mapping[str, Capability] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()

    def owner(self, capability: str) -> str | None:
        """Name of the plugin that serves the capability, or None."""
        return self.owners.get(capability)

    def explain_unknown(self, capability: str) -> str:
        """One line for people about a capability nobody serves."""
        for conflict in self.conflicts:
            if conflict.capability == capability:
                return conflict.reason
        near = get_close_matches(capability, self.served, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"no plugin of this Runner offers {capability}{hint}"


def build_catalog(offers: Mapping[str, Sequence[Capability]], bindings: Mapping[str, str] | None = None) -> Catalog:
    """Decide who serves what.

    Args:
        offers: Plugin name → what it offers.
        bindings: Capability → plugin name, the operator's own choice where several claim it.

    Returns:
        The catalog. A binding to a plugin that does not offer the capability serves nobody, as do unsolved claims.
    """
    claims: dict[str, dict[str, Capability]] = {}
    for plugin in sorted(offers):
        for capability in offers[plugin]:
            claims.setdefault(capability.name, {})[plugin] = capability
    owners: dict[str, str] = {}
    conflicts: list[Conflict] = []
    for name in sorted(claims):
        claimants = claims[name]
        bound = (bindings or {}).get(name)
        if bound is not None and bound in claimants:
            owners[name] = bound
        elif bound is None and len(claimants) == 1:
            owners[name] = next(iter(claimants))
        else:
            conflicts.append(Conflict(name, tuple(claimants)))
    served = {name: claims[name][owner] for name, owner in owners.items()}
    return Catalog(served, owners, tuple(conflicts))
