"""Names that strangers wrote and that become file names. Pure.

Everything is checked against a closed form before it is used anywhere; what does not fit is refused, never mended.
"""

from __future__ import annotations

import re

from aisops_runner.errors import PluginRefused

SHOWN_CHARS = 80
_PLUGIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # as the manifest's schema has it
_ENVIRONMENT = re.compile(r"[a-z0-9][a-z0-9.-]{0,220}-[0-9a-f]{8}")


def plugin_name(text: str) -> str:
    """The name, when it is one that a plugin may have.

    Raises:
        PluginRefused: It is not (code `invalid_name`).
    """
    if not _PLUGIN.fullmatch(text):
        raise PluginRefused(shown(text), f"{shown(text)!r} is not a plugin's name", code="invalid_name")
    return text


def environment_id(distribution: str, version: str, token: str) -> str:
    """The folder's name of a new environment.

    Args:
        distribution: The package's name in normal form; for people.
        version: Its version in normal form; for people.
        token: Eight hex digits that make the name new.
    """
    readable = re.sub(r"[^a-z0-9.]+", "-", version).strip("-.")
    return f"{distribution}-{readable}-{token}"


def is_environment_id(text: str) -> bool:
    """Whether a text has the form of an environment's folder name."""
    return _ENVIRONMENT.fullmatch(text) is not None


def shown(text: str) -> str:
    """A stranger's text as it may stand in a sentence."""
    return "".join(char if char.isprintable() else "?" for char in text[:SHOWN_CHARS])
