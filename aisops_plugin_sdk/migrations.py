"""Versions of a plugin's configuration, and the way from an older one to today's. Pure: environments in and out.

A version is major.minor. A minor adds; a major may rename or change what a variable means, and says by a *migration*
how an older environment becomes one of that version. Migrations run in the order of their versions, each on what the
one before left, so that going step by step and going in one go are the same.

Which version an environment has is what the operator says, or what its variables show: one that sets a variable which
a migration retired is older than that migration. So rename a variable whose meaning changes.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from aisops_plugin_sdk.errors import ConfigInvalid, DefinitionError, Detail

VERSION_ENV = "AISOPS_CONFIG_VERSION"
FIRST = "1.0"
Version: TypeAlias = tuple[int, int]
Migrate: TypeAlias = Callable[[dict[str, str]], Mapping[str, str]]
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Migration:
    """The step to one version.

    Attributes:
        to: the version it leads to; it is for every environment that is older.
        retires: variables that this version no longer reads.
        function: from a copy of the variables that are set to those of `to`.
    """

    to: Version
    retires: tuple[str, ...]
    function: Migrate


@dataclass(frozen=True, slots=True)
class Migrated:
    """An environment as today's config reads it.

    Attributes:
        environ: the variables.
        start: the version it had.
        retired: variables that are set although the current version does not read them.
    """

    environ: Mapping[str, str]
    start: Version
    retired: tuple[str, ...] = ()


def read_version(text: str) -> Version:
    """Read `major.minor`.

    Raises:
        ValueError: it is none.
    """
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:32]!r} is no version; write major.minor, such as 2.0")
    return int(found[1]), int(found[2])


def show(version: Version) -> str:
    """Write a version."""
    return f"{version[0]}.{version[1]}"


def check_migrations(current: str, migrations: Sequence[Migration], fields: Iterable[str]) -> None:
    """Check a config class's versions.

    Args:
        current: the version of the class.
        migrations: in the order of registration.
        fields: the variables the class reads.

    Raises:
        DefinitionError: a version cannot be read or stands twice, a migration leads past the current version, or it
            retires a variable that is still read or is none.
    """
    try:
        now = read_version(current)
    except ValueError as error:
        raise DefinitionError(f"config_version: {error}") from None
    read = set(fields)
    seen: set[Version] = set()
    for step in migrations:
        where = f"the migration to {show(step.to)}"
        if step.to in seen:
            raise DefinitionError(f"{where} is registered twice")
        seen.add(step.to)
        if step.to > now:
            raise DefinitionError(f"{where} leads past config_version = {current!r}; raise it")
        for name in step.retires:
            if not _NAME.fullmatch(name) or name in read:
                raise DefinitionError(f"{where} retires {name!r}, which is no variable or is still read")


def migrate(
    environ: Mapping[str, str], migrations: Sequence[Migration], *, start: Version, end: Version
) -> dict[str, str]:
    """Bring an environment from one version to another.

    Args:
        environ: the variables that are set.
        migrations: in any order.
        start: the version of `environ`.
        end: the version wanted; steps beyond it are left out.

    Raises:
        ConfigInvalid: a step failed; it names the version and no value.
    """
    current = dict(environ)
    for step in sorted(migrations, key=lambda one: one.to):
        if start < step.to <= end:
            current = _step(step, current)
    return current


def bring_up(environ: Mapping[str, str], migrations: Sequence[Migration], *, current: Version, said: str) -> Migrated:
    """Bring an operator's environment to the current version.

    Args:
        environ: the variables that are set.
        migrations: the class's.
        current: the class's version.
        said: the version the operator says it has; empty when nothing is said.

    Raises:
        ConfigInvalid: the version cannot be read, its major is newer than the plugin, or a step failed.
    """
    retired = tuple(name for step in migrations for name in step.retires if name in environ)
    start = _said(said, current) if said else _shown(environ, migrations, current)
    return Migrated(migrate(environ, migrations, start=start, end=current), start, retired)


def _said(said: str, current: Version) -> Version:
    try:
        version = read_version(said)
    except ValueError as error:
        raise ConfigInvalid([Detail(VERSION_ENV, str(error))]) from None
    if version[0] > current[0]:
        text = (
            f"the configuration is of version {show(version)}, and this plugin knows versions up to {show(current)}; "
            "upgrade the plugin, or write the configuration for its version"
        )
        raise ConfigInvalid([Detail(VERSION_ENV, text)], text)
    return version


def _shown(environ: Mapping[str, str], migrations: Sequence[Migration], current: Version) -> Version:
    """The version an environment shows by what it sets: just below the first step that retired something of it."""
    older = [step.to for step in migrations if any(name in environ for name in step.retires)]
    if not older:
        return current
    before = [step.to for step in migrations if step.to < min(older)]
    return max(before, default=(0, 0))


def _step(step: Migration, environ: dict[str, str]) -> dict[str, str]:
    try:
        made = step.function(dict(environ))
        result = {str(name): value for name, value in made.items() if name not in step.retires}
    except Exception as error:  # noqa: BLE001 - author code; its text may hold a value
        text = f"the configuration could not be migrated to version {show(step.to)} ({type(error).__name__})"
        raise ConfigInvalid([Detail(VERSION_ENV, text)], text) from None
    if not all(isinstance(value, str) for value in result.values()):
        text = f"the migration of the configuration to version {show(step.to)} made something that is no text"
        raise ConfigInvalid([Detail(VERSION_ENV, text)], text)
    return result
