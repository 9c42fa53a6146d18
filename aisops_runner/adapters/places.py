"""Joins the two places where plugins are installed: beside the Runner, and in environments of their own. Pure.

A name in both places is used from neither until the operator disables it in one: which of two versions answers must
never depend on the order in which folders are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.discovery import Discovery, Duplicate, Installed, Place


def _unknown(installed: Installed) -> Manifest | None:
    return None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What is known without looking at the Runner's own environment.

    Attributes:
        installed: Plugins in environments of their own.
        off: Name → the places in which the operator's command has disabled it.
        manifest: What such a plugin said of itself when its environment was made; None when that is lost.
    """

    installed: tuple[Installed, ...] = ()
    off: Mapping[str, frozenset[Place]] = field(default_factory=dict)
    manifest: Callable[[Installed], Manifest | None] = _unknown


def merge(beside: Discovery, elsewhere: Elsewhere) -> Discovery:
    """Decide which installation of each plugin counts.

    Args:
        beside: What the Runner's own environment holds.
        elsewhere: The rest, and what is disabled where.

    Returns:
        One entry a name. A name that is on in two places is a duplicate; one that is on nowhere is listed and off.
    """
    own = {found.name: found for found in elsewhere.installed}
    single = {found.name: found for found in beside.installed}
    twice = {found.name: found for found in beside.duplicates}
    installed: list[Installed] = []
    duplicates: list[Duplicate] = []
    off: set[str] = set()
    for name in sorted({*own, *single, *twice}):
        silent = elsewhere.off.get(name, frozenset())
        shelved = own.get(name) if Place.OWN not in silent else None
        alone, several = (single.get(name), twice.get(name)) if Place.BESIDE not in silent else (None, None)
        if several is not None or (shelved is not None and alone is not None):
            names = several.distributions if several is not None else (_named(alone),)
            duplicates.append(Duplicate(name, names, own=_named(shelved)))
        elif (found := shelved or alone) is not None:
            installed.append(found)
        elif (listed := own.get(name) or single.get(name)) is not None:
            installed.append(listed)
            off.add(name)
        else:
            duplicates.append(twice[name])
    return Discovery(tuple(installed), tuple(duplicates), frozenset(off))


def _named(installed: Installed | None) -> str:
    return f"{installed.distribution} {installed.version}" if installed is not None else ""
