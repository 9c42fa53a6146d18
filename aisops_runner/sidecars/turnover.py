"""What must happen to the plugins of a running Runner when others are installed, switched or disabled. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisops_runner.adapters.discovery import Installed


@dataclass(frozen=True, slots=True)
class Turnover:
    """Names, sorted: `added` and `changed` are to be taken, `removed` serve no longer."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def turnover(serving: Mapping[str, Installed], wanted: Mapping[str, Installed]) -> Turnover:
    """Compare what serves with what should.

    Args:
        serving: Installations in use now, by plugin.
        wanted: Those that are installed and enabled.
    """
    return Turnover(
        added=tuple(sorted(wanted.keys() - serving.keys())),
        changed=tuple(sorted(name for name in wanted.keys() & serving.keys() if wanted[name] != serving[name])),
        removed=tuple(sorted(serving.keys() - wanted.keys())),
    )
