"""Loads the one named plugin from the entry points, and nothing else."""

import sys
import traceback

from aisops_plugin_sdk.errors import DefinitionError, LoadFailed, ManifestError
from aisops_plugin_sdk.plugin import Plugin

GROUP = "aisops.plugins"
_TEXT_LIMIT = 500


def load_plugin(name: str) -> Plugin:
    """Import the entry point `name` of the group `aisops.plugins`.

    A plugin without a version of its own gets that of the distribution that exports it. The traceback of a failed
    import goes to stderr.

    Raises:
        LoadFailed: `plugin_not_found`, `duplicate_plugin` (two distributions export the name), `import_failed`,
            `invalid_plugin`, `not_a_plugin`, or `name_mismatch` (the object calls itself otherwise).
    """
    from importlib.metadata import entry_points

    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join(sorted({item.name for item in entry_points(group=GROUP)})) or "none"
        raise LoadFailed(f"no installed plugin is named {name!r}; installed: {known}", code="plugin_not_found")
    owners = sorted(item.dist.name if item.dist else "?" for item in found)
    if len(found) > 1:
        raise LoadFailed(f"{name!r} is exported by {' and by '.join(owners)}; uninstall one", code="duplicate_plugin")
    entry_point = found[0]
    try:
        plugin = entry_point.load()
    except KeyboardInterrupt:
        raise
    except DefinitionError as error:
        raise LoadFailed(str(error), code=error.code) from None
    except BaseException as error:  # noqa: BLE001 - vendor code may even call sys.exit while being imported
        traceback.print_exc(file=sys.stderr)
        text = f"importing {entry_point.value} failed: {type(error).__name__}: {error}"
        raise LoadFailed(text[:_TEXT_LIMIT], code="import_failed") from None
    if not isinstance(plugin, Plugin):
        text = f"{entry_point.value} is a {type(plugin).__name__}, not an aisops_plugin_sdk.Plugin"
        raise LoadFailed(text, code="not_a_plugin")
    return _checked(plugin, name, entry_point.dist.version if entry_point.dist else "")


def _checked(plugin: Plugin, name: str, version: str) -> Plugin:
    """Refuse a plugin whose name differs from its entry point, and complete its version."""
    if plugin.name != name:
        raise LoadFailed(f"entry point {name!r} exports a plugin named {plugin.name!r}", code="name_mismatch")
    plugin.version = plugin.version or version
    try:
        plugin.manifest()
    except (DefinitionError, ManifestError) as error:
        raise LoadFailed(str(error), code=error.code) from None
    return plugin
