"""A plugin in a wheel: unpacked into a folder of its own, and described from there with what is installed here."""

import configparser
import tempfile
from pathlib import Path

from aisops_plugin_sdk.errors import SourceError
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.process.loading import GROUP
from aisops_plugin_sdk.sources.archive import unpack
from aisops_plugin_sdk.sources.asking import describe

_MAX_ENTRIES_BYTES = 64 * 1024


class _EntryPoints(configparser.ConfigParser):
    """The format of entry_points.txt, where names keep their case."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def describe_wheel(wheel: Path) -> Manifest:
    """Describe the plugin that a wheel exports. Its code runs, its dependencies must be installed.

    Raises:
        SourceError: it is no wheel of one plugin, or the plugin does not describe itself.
    """
    with tempfile.TemporaryDirectory(prefix="aisops-plugin-") as folder:
        target = Path(folder)
        unpack(wheel, target)
        return describe(_exported(target, wheel.name), paths=[target])


def _exported(folder: Path, wheel: str) -> str:
    """Read the name of its entry point, without importing anything."""
    parser = _EntryPoints(delimiters=("=",), interpolation=None)
    for path in folder.glob("*.dist-info/entry_points.txt"):
        if path.stat().st_size > _MAX_ENTRIES_BYTES:
            raise SourceError(f"{wheel}: its entry_points.txt is too large")
        try:
            parser.read_string(path.read_text("utf-8"))
        except (configparser.Error, UnicodeDecodeError):
            raise SourceError(f"{wheel}: its entry_points.txt cannot be read") from None
    names = list(parser[GROUP]) if parser.has_section(GROUP) else []
    if len(names) != 1:
        raise SourceError(f"{wheel} exports {len(names)} plugins under {GROUP}; one is expected")
    return names[0]
