"""Finds programs with a `runner-plugin.yaml` in the folders the operator names. None of their code is run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aisops_runner.adapters.discovery import Installed
from aisops_runner.adapters.foreign.conversion import manifest_of, spelling_of
from aisops_runner.adapters.foreign.document import ForeignManifest, ManifestFault, read_manifest
from aisops_runner.adapters.foreign.files import read_regular
from aisops_runner.adapters.foreign.interpreters import command
from aisops_runner.adapters.foreign.permissions import PermissionPolicy, excess
from aisops_runner.adapters.foreign.strict_yaml import LIMIT_BYTES
from aisops_runner.adapters.index import Entry
from aisops_runner.adapters.kinds import Foreign, Kind

MANIFEST: Final = "runner-plugin.yaml"
MOST_FOLDERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Program:
    """One folder that may hold a plugin.

    Attributes:
        folder: Where its manifest is.
        name: The operator's name for it; empty: the manifest's own.
        interpreter: What runs it, instead of what PATH has.
        routes: Capability → path, the operator's own.
    """

    folder: Path
    name: str = ""
    interpreter: Path | None = None
    routes: Mapping[str, str] = field(default_factory=dict)


def programs_in(folders: Sequence[Path], *, known: Sequence[Path] = ()) -> list[Program]:
    """The programs of some folders: each that holds a manifest itself, else each of its own folders that does.

    Args:
        folders: Where to look. One that does not exist holds nothing.
        known: Folders that are left out because they are configured by name.
    """
    found: dict[Path, Program] = {}
    for folder in folders:
        inner = [folder] if _has_manifest(folder) else _subfolders(folder)
        for one in inner:
            found.setdefault(one, Program(one))
    return [program for folder, program in found.items() if folder not in known]


async def read_program(program: Program, *, path: str, policy: PermissionPolicy) -> Entry:
    """Read one program's manifest; an entry with the reason when it is refused.

    Args:
        program: Where it is.
        path: The PATH on which interpreters are looked for.
        policy: What plugins may ask for.
    """
    file = program.folder / MANIFEST
    name, version = program.name or program.folder.name, ""
    try:
        foreign = read_manifest(_read(program.folder))
        name, version = program.name or foreign.metadata.name, foreign.metadata.plugin_version
        manifest, notes = manifest_of(foreign, name=program.name, routes=program.routes)
        if beyond := excess(foreign.permissions, policy):
            raise ManifestFault(beyond, field="permissions")
        launch = await _launch(foreign, program, path)
    except ManifestFault as error:
        found = Installed(name, "", str(program.folder), version, "")
        facts = Foreign(Kind.PROGRAM, cwd=program.folder)
        return Entry(found, None, "manifest_invalid", f"{file}: {error}", foreign=facts)
    facts = Foreign(
        kind=Kind(foreign.runtime.protocol),
        spelling=spelling_of(foreign.capabilities.provides),
        routes=program.routes,
        argv=launch[0],
        cwd=launch[1],
        defaults={
            one.name: one.default for one in (*foreign.env.required, *foreign.env.optional) if one.default is not None
        },
        idle_stop_s=max(1.0, foreign.execution.idle_ttl_seconds),
        restarts=foreign.execution.restart_policy != "never",
        notes=notes,
    )
    found = Installed(manifest.name, foreign.runtime.entrypoint, str(program.folder), manifest.version, "")
    return Entry(found, manifest, foreign=facts)


def _read(folder: Path) -> bytes:
    try:
        return read_regular(folder / MANIFEST, LIMIT_BYTES, within=folder)
    except FileNotFoundError:
        raise ManifestFault("there is no such file") from None
    except OSError as error:
        raise ManifestFault(f"cannot be read: {error.strerror or error}") from None
    except (ValueError, RuntimeError) as error:  # a link that leads away, or in a circle
        raise ManifestFault(str(error)) from None


async def _launch(foreign: ForeignManifest, program: Program, path: str) -> tuple[tuple[str, ...], Path]:
    """The command and the working directory."""
    runtime = foreign.runtime
    entry = _inside(program.folder, runtime.entrypoint, "runtime.entrypoint")
    cwd = _inside(program.folder, runtime.working_dir, "runtime.working_dir")
    _inside(program.folder, foreign.install.root, "install.root")
    if not entry.is_file():
        raise ManifestFault(f"{runtime.entrypoint!r} is not a file", field="runtime.entrypoint")
    if not cwd.is_dir():
        raise ManifestFault(f"{runtime.working_dir!r} is not a folder", field="runtime.working_dir")
    if runtime.type == "binary" and not os.access(entry, os.X_OK):
        text = f"{runtime.entrypoint!r} may not be executed; chmod +x it"
        raise ManifestFault(text, field="runtime.entrypoint")
    argv = await command(runtime, entry, program.folder, chosen=program.interpreter, path=path)
    return argv, cwd


def _inside(folder: Path, text: str, field_name: str) -> Path:
    """A path of the manifest, with every link followed."""
    try:
        real = (folder / text).resolve(strict=True)
        inside = real.is_relative_to(folder.resolve(strict=True))
    except FileNotFoundError:
        raise ManifestFault(f"{text!r} does not exist", field=field_name) from None
    except (OSError, RuntimeError) as error:
        raise ManifestFault(f"{text!r} cannot be followed: {error}", field=field_name) from None
    if not inside:
        raise ManifestFault(f"{text!r} is a link that leads out of the plugin's folder", field=field_name)
    return real


def _has_manifest(folder: Path) -> bool:
    return os.path.lexists(folder / MANIFEST)


def _subfolders(folder: Path) -> list[Path]:
    try:
        inner = sorted(Path(one.path) for one in os.scandir(folder) if one.is_dir())
    except OSError:
        return []
    return [one for one in inner if _has_manifest(one)][:MOST_FOLDERS]
