"""The names a new plugin gets from the one its author gives. Pure."""

import re
from dataclasses import dataclass

MAX_NAME = 32
PREFIX = "aisops-plugin-"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)


class BadName(ValueError):
    """A plugin cannot have this name; the text says what a name looks like."""


@dataclass(frozen=True, slots=True)
class Names:
    """Everything that is named after a plugin.

    Attributes:
        name: the plugin, such as `acme-chat`.
        distribution: what is installed by pip, `aisops-plugin-acme-chat`.
        module: what is imported, `aisops_plugin_acme_chat`.
        class_name: the beginning of its classes, `AcmeChat`.
        env: the beginning of its variables, `ACME_CHAT`.
        capability: its first capability, `acme_chat.send`.
    """

    name: str
    distribution: str
    module: str
    class_name: str
    env: str
    capability: str


def names_of(name: str) -> Names:
    """Derive all names.

    Raises:
        BadName: the name is not in lower case with single hyphens, is too long, or begins with the prefix.
    """
    if name.startswith(PREFIX):
        raise BadName(f"{name!r}: leave out {PREFIX!r}; the distribution gets it by itself")
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise BadName(
            f"{name[:80]!r} is no name for a plugin: lower case letters and digits in words joined by single hyphens, "
            f"beginning with a letter, at most {MAX_NAME} long, such as 'acme-chat'"
        )
    word = name.replace("-", "_")
    return Names(
        name=name,
        distribution=f"{PREFIX}{name}",
        module=f"aisops_plugin_{word}",
        class_name="".join(part.capitalize() for part in name.split("-")),
        env=word.upper(),
        capability=f"{word}.send",
    )
