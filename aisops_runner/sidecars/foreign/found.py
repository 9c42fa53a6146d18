"""Everything written for the original that this Runner is told of: programs in folders, and plugins at addresses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aisops_runner.adapters.discovery import Duplicate, Installed
from aisops_runner.adapters.foreign.conversion import manifest_at, spelling_of
from aisops_runner.adapters.foreign.document import ManifestFault
from aisops_runner.adapters.foreign.folders import Program, programs_in, read_program
from aisops_runner.adapters.foreign.permissions import PermissionPolicy
from aisops_runner.adapters.foreign.routes import KNOWN
from aisops_runner.adapters.index import Entry
from aisops_runner.adapters.kinds import Foreign, Kind
from aisops_runner.clock import Clock
from aisops_runner.errors import SidecarStartFailed
from aisops_runner.sidecars.foreign.remote import open_http, probe

SILENT: Final = "describe_timeout"
"""The code of one that did not answer: it is asked again."""
MOST_CAPABILITIES: Final = 128
_CAPABILITY: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A plugin that already runs.

    Attributes:
        name: The operator's name for it.
        url: Where it is.
        token: Reference to the token shared with it.
        capabilities: What it offers; empty: what it says itself, or what the original's plugin of this name offers.
        routes: Capability → path, the operator's own.
        enabled: False: listed, never asked.
    """

    name: str
    url: str
    token: str = field(repr=False)
    capabilities: tuple[str, ...] = ()
    routes: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ForeignSources:
    """Where plugins written for the original are.

    Attributes:
        programs: Folders configured by name.
        folders: Folders in which every program is used.
        places: Addresses configured by name.
        policy: What programs may ask for.
    """

    programs: tuple[Program, ...] = ()
    folders: tuple[Path, ...] = ()
    places: tuple[Place, ...] = ()
    policy: PermissionPolicy = field(default_factory=PermissionPolicy)

    @property
    def named(self) -> frozenset[str]:
        """Names that the operator gave: they win over an installed package of the same name."""
        return frozenset([one.name for one in self.programs] + [one.name for one in self.places])


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, and what is refused because its name is taken twice."""

    entries: tuple[Entry, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Every name that no package can have beside."""
        return frozenset([entry.installed.name for entry in self.entries] + [one.name for one in self.duplicates])


async def find(
    sources: ForeignSources, *, env: Mapping[str, str], clock: Clock, packages: Mapping[str, str], only: str = ""
) -> Found:
    """Read every manifest and ask every address once. No program is run.

    Args:
        sources: Where to look.
        env: The Runner's environment; its PATH finds interpreters.
        clock: For timestamps.
        packages: Installed packages that are plugins: name → distribution.
        only: Ask this address only; empty: all.
    """
    path = env.get("PATH", "")
    scattered = await asyncio.to_thread(programs_in, sources.folders, known=[one.folder for one in sources.programs])
    named = [read_program(one, path=path, policy=sources.policy) for one in sources.programs]
    asked = [find_place(place, clock) for place in sources.places if only in ("", place.name)]
    loose = [read_program(one, path=path, policy=sources.policy) for one in scattered]
    entries = await asyncio.gather(*named, *asked, *loose)
    ours = {name: origin for name, origin in packages.items() if name not in sources.named}
    return _without_duplicates(entries, ours)


async def find_place(place: Place, clock: Clock) -> Entry:
    """Ask one address what is there."""
    foreign = Foreign(Kind.URL, routes=place.routes, url=place.url, token=place.token)
    if not place.enabled:
        return Entry(Installed(place.name, "", place.url, "", ""), None, "disabled", "switched off", foreign=foreign)
    http, prefix = open_http(place.url, "", clock)
    document: dict[str, Any] = {}
    silence = ""
    try:
        document = await probe(http, prefix, place.url)
    except SidecarStartFailed as error:
        silence = error.message
    finally:
        http.close()
    version = str(document.get("version") or "unknown")[:64]
    installed = Installed(place.name, "", place.url, version, "")
    offered = place.capabilities or offered_by(document) or KNOWN.get(place.name, ())
    if silence and not offered:
        return Entry(installed, None, SILENT, silence, clock.unix_ms(), foreign=foreign)
    try:
        manifest, notes = manifest_at(place.name, version, offered, routes=place.routes)
    except ManifestFault as error:
        text = f"{error}; name what it offers: capabilities = [ … ]"
        return Entry(installed, None, "manifest_invalid", text, clock.unix_ms(), foreign=foreign)
    spelling = spelling_of(offered)
    facts = Foreign(Kind.URL, spelling=spelling, routes=place.routes, url=place.url, token=place.token, notes=notes)
    return Entry(installed, manifest, described_unix_ms=clock.unix_ms(), foreign=facts)


def offered_by(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The capabilities that a probe names; what is no capability's name is passed over."""
    named = document.get("capabilities")
    texts = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    names = dict.fromkeys(one for one in texts if len(one) <= 128 and _CAPABILITY.fullmatch(one))
    return tuple(names)[:MOST_CAPABILITIES]


def _without_duplicates(entries: Sequence[Entry], packages: Mapping[str, str]) -> Found:
    """One name, one plugin: whatever shares its name with another is not used."""
    origins: dict[str, list[str]] = {}
    for entry in entries:
        origins.setdefault(entry.installed.name, []).append(entry.installed.distribution)
    for name, origin in packages.items():
        if name in origins:
            origins[name].append(origin)
    twice = {name for name, places in origins.items() if len(places) > 1}
    return Found(
        tuple(entry for entry in entries if entry.installed.name not in twice),
        tuple(Duplicate(name, tuple(sorted(origins[name]))) for name in sorted(twice)),
    )
