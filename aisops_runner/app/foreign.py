"""Where the configuration says that plugins written for the original are, as the values that the fleet takes."""

from __future__ import annotations

from aisops_runner.adapters.foreign.folders import Program
from aisops_runner.adapters.foreign.permissions import PermissionPolicy
from aisops_runner.config import RunnerConfig
from aisops_runner.sidecars.foreign.found import ForeignSources, Place


def foreign_sources(config: RunnerConfig) -> ForeignSources:
    """Read them from the configuration; plugins that are switched off are listed and not looked at further."""
    asked = config.plugin_permissions
    return ForeignSources(
        programs=tuple(
            Program(plugin.path, name, plugin.interpreter, plugin.routes)
            for name, plugin in sorted(config.plugins.items())
            if plugin.path is not None
        ),
        folders=config.plugin_folders,
        places=tuple(
            Place(name, plugin.url, plugin.token, plugin.capabilities, plugin.routes, plugin.enabled)
            for name, plugin in sorted(config.plugins.items())
            if plugin.url
        ),
        policy=PermissionPolicy(asked.outbound, asked.read, asked.write),
    )
