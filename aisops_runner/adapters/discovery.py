"""Which plugins are installed, read from package metadata alone: no vendor code is imported.

stevedore does the listing. Its loading is replaced by a no-op (loading would run vendor code, and an AssertionError or
SystemExit in it ends the host), and so is its disk cache (it needs a writable home and compares coarse times).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any

from stevedore import ExtensionManager
from stevedore.extension import Extension

PLUGINS_GROUP = "aisops.plugins"
MAX_FINGERPRINT_FILES = 20_000


class Place(StrEnum):
    """Where a plugin is installed."""

    BESIDE = "beside"
    """In the Runner's own environment (`pip install`): the simple mode."""
    OWN = "own"
    """In an environment of its own, made by `aisops-runner plugin install`."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One entry point of group `aisops.plugins`.

    Attributes:
        name: The plugin's name: that of its entry point.
        entry_point: Where its Plugin object lives, `module:attribute`.
        distribution: The package that brought it.
        version: The package's version.
        fingerprint: Changes whenever the installed files do.
        python: The interpreter of the environment it is installed in; empty: the Runner's own.
    """

    name: str
    entry_point: str
    distribution: str
    version: str
    fingerprint: str
    python: str = ""

    @property
    def place(self) -> Place:
        """Where it is installed."""
        return Place.OWN if self.python else Place.BESIDE


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One plugin name that several installed packages claim; none of them is used.

    Attributes:
        name: The plugin.
        distributions: The packages beside the Runner, each with its version.
        own: The package in an environment of its own, when that is one of them.
    """

    name: str
    distributions: tuple[str, ...]
    own: str = ""

    @property
    def reason(self) -> str:
        """One line for people."""
        beside = " and ".join(self.distributions)
        if self.own:
            return (
                f"installed twice: beside the Runner by {beside} and in an environment of its own by {self.own}; "
                f"disable one: aisops-runner plugin disable {self.name} --beside (or --own)"
            )
        return f"installed twice, by {beside}; uninstall all but one"


@dataclass(frozen=True, slots=True)
class Discovery:
    """What is installed.

    Attributes:
        installed: One entry a plugin, sorted by name.
        duplicates: What is refused because its name is taken twice.
        off: Names among `installed` that the operator's command has disabled.
    """

    installed: tuple[Installed, ...]
    duplicates: tuple[Duplicate, ...] = ()
    off: frozenset[str] = frozenset()


class _Listing(ExtensionManager[Any]):
    """stevedore's manager, reading fresh metadata and loading nothing."""

    def list_entry_points(self) -> list[EntryPoint]:
        return list(entry_points(group=self.namespace))

    def _load_one_plugin(self, ep: EntryPoint, *_how: object) -> Extension[Any]:
        return Extension(ep.name, ep, type(None), None)


def discover(group: str = PLUGINS_GROUP) -> Discovery:
    """List the installed plugins, sorted by name."""
    found: dict[str, list[EntryPoint]] = {}
    for extension in _Listing(group).extensions:
        found.setdefault(extension.name, []).append(extension.entry_point)
    installed: list[Installed] = []
    duplicates: list[Duplicate] = []
    for name in sorted(found):
        points = found[name]
        if len(points) == 1:
            installed.append(_installed(points[0]))
        else:
            duplicates.append(Duplicate(name, tuple(sorted(_describe_origin(point) for point in points))))
    return Discovery(tuple(installed), tuple(duplicates))


def installed_hooks(group: str) -> list[EntryPoint]:
    """Entry points of customer hooks; the host imports only those the configuration names."""
    return [extension.entry_point for extension in _Listing(group).extensions]


def fingerprint(distribution: Distribution, module: str) -> str:
    """Digest that changes when the installed code does.

    A wheel's RECORD lists a hash of every file, so its own hash is enough. An editable install's RECORD lists only a
    pointer to the source tree; there, names, sizes and modification times of the package's files are digested.

    Args:
        distribution: The installed package.
        module: Dotted module of the entry point; only its first part is looked up, and nothing is imported.
    """
    record = distribution.read_text("RECORD")
    if record and not _is_editable(distribution):
        return "record:" + hashlib.sha256(record.encode()).hexdigest()
    digest = hashlib.sha256((distribution.version or "").encode())
    for line in _file_facts(module.partition(".")[0]):
        digest.update(line.encode("utf-8", "surrogateescape"))
    return "files:" + digest.hexdigest()


def sdk_fingerprint() -> str:
    """The same for the SDK, whose version shapes every manifest."""
    return fingerprint(Distribution.from_name("aisops-plugin-sdk"), "aisops_plugin_sdk")


def _installed(point: EntryPoint) -> Installed:
    distribution = point.dist
    if distribution is None:  # cannot happen for metadata read from disk; the type allows it
        return Installed(point.name, point.value, "", "", "unknown")
    return Installed(
        name=point.name,
        entry_point=point.value,
        distribution=distribution.name,
        version=distribution.version,
        fingerprint=fingerprint(distribution, point.module),
    )


def _describe_origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _is_editable(distribution: Distribution) -> bool:
    text = distribution.read_text("direct_url.json")
    if not text:
        return False
    try:
        document = json.loads(text)
    except ValueError:
        return False
    return isinstance(document, dict) and bool((document.get("dir_info") or {}).get("editable"))


def _file_facts(top_module: str) -> Iterator[str]:
    """`path size mtime` of every source file of a top-level module, sorted; nothing is imported."""
    spec = PathFinder.find_spec(top_module)
    roots: Sequence[str] = (spec.submodule_search_locations or [spec.origin or ""]) if spec else []
    for root in roots:
        base = Path(root)
        files = [base] if base.is_file() else sorted(path for path in base.rglob("*") if path.suffix != ".pyc")
        for path in files[:MAX_FINGERPRINT_FILES]:
            if path.is_file():
                facts = path.stat()
                yield f"{path} {facts.st_size} {facts.st_mtime_ns}\n"
