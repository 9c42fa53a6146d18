"""One plugin as people see it: a row of `aisops-runner plugin list`."""

from __future__ import annotations

from dataclasses import dataclass

DISABLED = "disabled in the configuration"


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """One plugin as people see it; `reason` says why, whenever the state is not a plain good one.

    `place` is where it is installed: `beside` the Runner or in an environment of its `own`.
    """

    name: str
    version: str
    state: str
    pid: int = 0
    restarts: int = 0
    capabilities: tuple[str, ...] = ()
    reason: str = ""
    distribution: str = ""
    in_flight: int = 0
    place: str = ""


def switched_off(name: str) -> str:
    """Why a plugin does not run that was disabled by command."""
    return f"disabled; enable it with: aisops-runner plugin enable {name}"
