"""Requirements locked to exact versions and hashes: read, compared, written. Pure.

A lock may come from a stranger, and installers take options, addresses and other files in the same place. So it is
read here, and what the installer is given is written anew from what was understood: names, versions, conditions,
hashes, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement

from aisops_runner.environments.names import shown
from aisops_runner.environments.wanted import distribution_name, version_text
from aisops_runner.errors import PluginRefused

MAX_CHARS = 4 * 1024 * 1024
_HASH = re.compile(r"\s--hash=sha256:([0-9a-f]{64})(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package: its version, the condition under which it is meant, and the hashes of the files that may be it."""

    distribution: str
    version: str
    hashes: tuple[str, ...]
    marker: str = ""

    def line(self) -> str:
        """As installers read it."""
        condition = f" ; {self.marker}" if self.marker else ""
        return f"{self.distribution}=={self.version}{condition}" + "".join(
            f" --hash=sha256:{one}" for one in self.hashes
        )


def parse(text: str) -> list[Pin]:
    """Read a lock.

    Raises:
        PluginRefused: A line is not `name==version --hash=sha256:…` (code `lock_invalid`).
    """
    if len(text) > MAX_CHARS:
        raise _invalid("it is too long")
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (line.split(" #")[0].strip() for line in joined.splitlines())
    return [_pin(line) for line in lines if line and not line.startswith("#")]


def render(pins: Iterable[Pin]) -> str:
    """Write a lock."""
    return "".join(f"{pin.line()}\n" for pin in pins)


def find(pins: Iterable[Pin], distribution: str) -> Pin:
    """The pin of one package.

    Raises:
        PluginRefused: There is none, or several (code `lock_invalid`).
    """
    found = [pin for pin in pins if pin.distribution == distribution]
    if len(found) != 1:
        raise _invalid(f"it names {distribution} {len(found)} times, and must once")
    return found[0]


def narrowed(pins: Iterable[Pin], files: Mapping[str, str]) -> list[Pin]:
    """The same lock, in which some packages may be one file only.

    Args:
        pins: The lock.
        files: Package → SHA-256 of the file, in hex.
    """
    return [
        Pin(pin.distribution, pin.version, (files[pin.distribution],), pin.marker) if pin.distribution in files else pin
        for pin in pins
    ]


def _pin(line: str) -> Pin:
    hashes = tuple(sorted(_HASH.findall(line)))
    stated = _HASH.sub("", line).strip()
    try:
        asked = Requirement(stated)
    except InvalidRequirement:
        raise _invalid(f"{shown(stated)!r} is not NAME==VERSION") from None
    exact = list(asked.specifier)
    if asked.url or len(exact) != 1 or exact[0].operator != "==" or exact[0].version.endswith(".*"):
        raise _invalid(f"{shown(stated)!r} is not NAME==VERSION")
    if not hashes:
        raise _invalid(f"{shown(stated)!r} has no --hash=sha256:…")
    marker = str(asked.marker) if asked.marker else ""
    return Pin(distribution_name(asked.name), version_text(exact[0].version), hashes, marker)


def _invalid(why: str) -> PluginRefused:
    text = f"the lock cannot be used: {why}; make one with: uv pip compile --generate-hashes"
    return PluginRefused("lock", text, code="lock_invalid")
