"""Which environment each plugin uses, which it used before, and what may go. Pure: a value in, a new value out.

    (absent) --put--> now A --put--> now B, before A --back--> now A, before B
                                     now B, before A --put--> now C, before B      (A may go)
    any      --without--> (absent)

What is on the disk stands in one of four ways to this: in use NOW, kept as the one BEFORE, OLD (whole, and named by
nothing any more), or HALF_MADE (a command ended while it was being built).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from aisops_runner.adapters.discovery import Place
from aisops_runner.errors import PluginRefused

BOTH = frozenset({Place.BESIDE, Place.OWN})


class Standing(StrEnum):
    """What one environment on the disk is."""

    NOW = "now"
    BEFORE = "before"
    OLD = "old"
    HALF_MADE = "half-made"


@dataclass(frozen=True, slots=True)
class Environment:
    """What one built environment holds.

    Attributes:
        id: Its folder's name.
        name: The plugin in it.
        entry_point: Where the plugin object lives, `module:attribute`.
        distribution: The package that brought it, in normal form.
        version: The package's version.
        fingerprint: Digest of the package's RECORD.
        built_unix_ms: When it was whole.
    """

    id: str
    name: str
    entry_point: str
    distribution: str
    version: str
    fingerprint: str
    built_unix_ms: int


@dataclass(frozen=True, slots=True)
class Holding:
    """One installed plugin: the environment in use and, unless it is the first, the one before."""

    now: Environment
    before: Environment | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """Everything that is installed in environments of its own, and what is disabled where."""

    holdings: Mapping[str, Holding] = field(default_factory=dict)
    off: Mapping[str, frozenset[Place]] = field(default_factory=dict)

    def holding(self, name: str) -> Holding:
        """One installed plugin.

        Raises:
            PluginRefused: It is not in an environment of its own (code `not_installed`).
        """
        found = self.holdings.get(name)
        if found is None:
            text = f"{name} is not installed in an environment of its own; see: aisops-runner plugin list"
            raise PluginRefused(name, text, code="not_installed")
        return found

    def put(self, new: Environment) -> Shelf:
        """Use a new environment; the one in use until now is the one before."""
        old = self.holdings.get(new.name)
        return self._with(new.name, Holding(new, old.now if old else None))

    def back(self, name: str) -> Shelf:
        """Use the environment before; the one in use until now takes its place, so that the way back has a way back.

        Raises:
            PluginRefused: There is none (code `nothing_before`).
        """
        held = self.holding(name)
        if held.before is None:
            text = f"{name} {held.now.version} is the only version that was ever installed here; there is no way back"
            raise PluginRefused(name, text, code="nothing_before")
        return self._with(name, Holding(held.before, held.now))

    def without(self, name: str) -> Shelf:
        """Forget a plugin, and that it was disabled in its own environment.

        Raises:
            PluginRefused: It is not installed (code `not_installed`).
        """
        self.holding(name)
        rest = {other: held for other, held in self.holdings.items() if other != name}
        return replace(self, holdings=rest).switched(name, on=frozenset({Place.OWN}))

    def switched(self, name: str, *, on: frozenset[Place] = frozenset(), off: frozenset[Place] = frozenset()) -> Shelf:
        """Enable and disable a plugin in some places."""
        silent = (self.off.get(name, frozenset()) - on) | off
        rest = {other: places for other, places in self.off.items() if other != name}
        return replace(self, off=rest | ({name: silent} if silent else {}))

    def standing(self, identity: str, *, whole: bool) -> Standing:
        """What an environment found on the disk is."""
        for held in self.holdings.values():
            if held.now.id == identity:
                return Standing.NOW
            if held.before is not None and held.before.id == identity:
                return Standing.BEFORE
        return Standing.OLD if whole else Standing.HALF_MADE

    def unneeded(self, found: Mapping[str, bool], *, in_use: Iterable[str] = (), old_too: bool) -> list[str]:
        """Environments that may be deleted.

        Args:
            found: Those on the disk, and whether each is whole.
            in_use: Those from which a process runs.
            old_too: Also the whole ones; only once no running Runner holds them for those in use.
        """
        held = [one.id for holding in self.holdings.values() for one in (holding.now, holding.before) if one]
        kept = {*held, *in_use}
        return sorted(one for one, whole in found.items() if one not in kept and (old_too or not whole))

    def _with(self, name: str, holding: Holding) -> Shelf:
        return replace(self, holdings={**self.holdings, name: holding})
