"""What a person asks to have installed, and the packages and versions in it. Pure.

What comes out is in normal form (PEP 503, PEP 440) and made of those forms' characters alone, so that it can be part of
a file name or of a line that an installer reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from aisops_runner.environments.names import shown
from aisops_runner.errors import PluginRefused

MAX_CHARS = 100
_DISTRIBUTION = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked to have installed.

    Attributes:
        distribution: The package's normal name.
        requirement: The package with its versions and extras, as installers read it.
        wheel: The wheel file that was named, or None.
    """

    distribution: str
    requirement: str
    wheel: Path | None = None


def distribution_name(text: str) -> str:
    """The normal form of a package's name (PEP 503).

    Raises:
        PluginRefused: It is not one (code `invalid_name`).
    """
    try:
        name = canonicalize_name(text, validate=True)
    except InvalidName:
        name = canonicalize_name("")
    if not _DISTRIBUTION.fullmatch(name) or len(name) > MAX_CHARS:
        raise PluginRefused(shown(text), f"{shown(text)!r} is not a package's name", code="invalid_name")
    return name


def version_text(text: str) -> str:
    """The normal form of a version (PEP 440).

    Raises:
        PluginRefused: It is not one (code `invalid_version`).
    """
    try:
        if len(text) > MAX_CHARS:
            raise InvalidVersion(text)
        return str(Version(text))
    except InvalidVersion:
        raise PluginRefused(shown(text), f"{shown(text)!r} is not a version", code="invalid_version") from None


def same_version(one: str, other: str) -> bool:
    """Whether two texts name one version; `1.0` and `1.0.0` do."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def wheel_name(path: Path) -> tuple[str, str]:
    """Package and version that a wheel's file name states.

    Raises:
        PluginRefused: It is no wheel's name (code `not_a_wheel`).
    """
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except (InvalidWheelFilename, InvalidVersion):
        text = f"{shown(path.name)!r} is not named as a wheel is (NAME-VERSION-py3-none-any.whl)"
        raise PluginRefused(shown(path.name), text, code="not_a_wheel") from None
    return distribution_name(name), version_text(str(version))


def wanted(text: str) -> Wanted:
    """Read what a person wants installed: a wheel file, or a package with or without versions.

    Raises:
        PluginRefused: It is neither; addresses are none of both (code `invalid_requirement`).
    """
    if text.endswith(".whl"):
        path = Path(text)
        name, version = wheel_name(path)
        return Wanted(name, f"{name}=={version}", path)
    advice = "name a package (acme-chat, acme-chat==1.2) or a wheel file"
    try:
        asked = Requirement(text)
    except InvalidRequirement:
        raise PluginRefused(
            shown(text), f"{shown(text)!r} cannot be installed; {advice}", code="invalid_requirement"
        ) from None
    if asked.url is not None or asked.marker is not None:
        raise PluginRefused(asked.name, f"addresses and conditions are not taken; {advice}", code="invalid_requirement")
    name = distribution_name(asked.name)
    extras = f"[{','.join(sorted(distribution_name(extra) for extra in asked.extras))}]" if asked.extras else ""
    return Wanted(name, f"{name}{extras}{asked.specifier}")
