"""The group `aisops-runner plugin` and the names of its commands."""

from __future__ import annotations

import click

from aisops_runner.cli.lazy import ExamplesGroup

_HERE = "aisops_runner.cli.plugins"
COMMANDS = {
    "install": (f"{_HERE}.changing:install", "Install a plugin into an environment of its own."),
    "list": (f"{_HERE}.listing:list_plugins", "List the installed plugins, broken ones with their reason."),
    "describe": (f"{_HERE}.listing:describe_plugin", "Print one plugin's manifest."),
    "enable": (f"{_HERE}.switching:enable", "Use a disabled plugin again."),
    "disable": (f"{_HERE}.switching:disable", "Stop using a plugin, until it is enabled again."),
    "upgrade": (f"{_HERE}.changing:upgrade", "Switch a plugin to another version, after comparing the two."),
    "rollback": (f"{_HERE}.changing:rollback", "Switch a plugin back to the version before."),
    "uninstall": (f"{_HERE}.changing:uninstall", "Remove a plugin and its environments."),
    "doctor": (f"{_HERE}.doctor:doctor", "Check the plugins and say what to do."),
    "logs": (f"{_HERE}.logs:logs", "Show the last lines of a plugin's sidecar."),
}
EXAMPLES = """
aisops-runner plugin install aisops-plugin-slack
aisops-runner plugin install acme-chat --wheelhouse /media/usb/wheels
aisops-runner plugin upgrade slack
aisops-runner plugin rollback slack
aisops-runner plugin doctor
"""


@click.group(cls=ExamplesGroup, lazy=COMMANDS, epilog=EXAMPLES)
def plugin() -> None:
    """Install, change, check and list plugins. None of these commands runs a plugin's code in its own process."""
