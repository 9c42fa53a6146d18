"""A plugin in a folder, as its author has it: found by pyproject.toml, and run from there without being installed."""

import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisops_plugin_sdk.errors import SourceError
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.process.loading import GROUP
from aisops_plugin_sdk.sources.asking import describe

_MAX_PYPROJECT_BYTES = 256 * 1024
_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,100}[A-Za-z0-9])?", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,63}", re.ASCII)
_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Project:
    """What pyproject.toml says about a plugin.

    Attributes:
        folder: where it stands.
        distribution: the name of the distribution.
        version: its version; `0` when it is worked out at build time.
        plugin: the name of the plugin's entry point.
        target: `module:attribute` of the plugin object.
    """

    folder: Path
    distribution: str
    version: str
    plugin: str
    target: str

    @contextmanager
    def importable(self) -> Iterator[list[Path]]:
        """Give the folders that must be searched first for the plugin to be found as if it were installed.

        Raises:
            SourceError: its module stands neither in the folder nor in `src`.
        """
        top = self.target.partition(":")[0].partition(".")[0]
        roots = [root for root in (self.folder / "src", self.folder) if _holds(root, top)]
        if not roots:
            raise SourceError(f"{self.folder}: the module {top} is neither here nor in src")
        with tempfile.TemporaryDirectory(prefix="aisops-plugin-") as made:
            info = Path(made) / f"{re.sub(r'[-_.]+', '_', self.distribution)}-{self.version}.dist-info"
            info.mkdir()
            metadata = f"Metadata-Version: 2.1\nName: {self.distribution}\nVersion: {self.version}\n"
            (info / "METADATA").write_text(metadata, "utf-8")
            (info / "entry_points.txt").write_text(f"[{GROUP}]\n{self.plugin} = {self.target}\n", "utf-8")
            yield [Path(made), roots[0]]


def read_project(folder: Path) -> Project:
    """Read the pyproject.toml of a folder.

    Raises:
        SourceError: there is none, or it does not export exactly one plugin.
    """
    path = folder / "pyproject.toml"
    if not path.is_file():
        raise SourceError(f"{folder} has no pyproject.toml; `aisops-plugin new NAME` makes a plugin's folder")
    if path.stat().st_size > _MAX_PYPROJECT_BYTES:
        raise SourceError(f"{path} is too large")
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from None
    project = _table(document, "project")
    exported = _table(_table(project, "entry-points"), GROUP)
    if len(exported) != 1:
        raise SourceError(f'{path} exports {len(exported)} plugins; [project.entry-points."{GROUP}"] must name one')
    ((plugin, target),) = exported.items()
    version = project.get("version", "0")
    for what, value, form in (
        ("project.name", project.get("name"), _DISTRIBUTION),
        ("project.version", version, _VERSION),
        (f"the entry point {plugin!r}", target, _OBJECT),
    ):
        if not isinstance(value, str) or not form.fullmatch(value):
            raise SourceError(f"{path}: {what} is missing or not of the right form")
    return Project(folder, project["name"], version, plugin, target)


def describe_folder(folder: Path) -> Manifest:
    """Describe the plugin of a folder with what is installed here.

    Raises:
        SourceError: the folder holds no plugin, or the plugin does not describe itself.
    """
    project = read_project(folder)
    with project.importable() as paths:
        return describe(project.plugin, paths=paths)


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name, {})
    return found if isinstance(found, Mapping) else {}


def _holds(root: Path, module: str) -> bool:
    return (root / module).is_dir() or (root / f"{module}.py").is_file()
