"""Makes the file that says what is installed again, from the environments that stand there."""

from __future__ import annotations

from collections.abc import Iterable

from aisops_runner.adapters.discovery import Place
from aisops_runner.environments import registry
from aisops_runner.environments.layout import Layout
from aisops_runner.environments.locking import CommandLock
from aisops_runner.environments.names import is_environment_id
from aisops_runner.environments.shelf import Environment, Shelf
from aisops_runner.errors import RegistryDamaged


def repair(layout: Layout) -> Shelf | None:
    """Mend a damaged or lost registry; what it said is kept beside it as `installed.json.damaged`.

    Nobody knows any more which version was in use and what was disabled: the newest version of each plugin is named,
    and all are disabled until the operator enables them.

    Returns:
        What stands there now; None when nothing was wrong.

    Raises:
        CommandsBusy: Another command is at work.
        OSError: The disk refused.
    """
    with CommandLock(layout):
        try:
            registry.read(layout)
        except RegistryDamaged:
            shelf = remade(
                found
                for name in registry.folders(layout)
                if is_environment_id(name) and (found := registry.stored_environment(layout, name)) is not None
            )
            if layout.registry.exists():
                layout.registry.replace(layout.registry.with_suffix(".json.damaged"))
            registry.write(layout, shelf)
            return shelf
        return None


def remade(found: Iterable[Environment]) -> Shelf:
    """What may be said from the environments alone: the newest of each plugin in use, the next one before, all off."""
    shelf = Shelf()
    for one in sorted(found, key=lambda environment: environment.built_unix_ms):
        shelf = shelf.put(one)
    for name in shelf.holdings:
        shelf = shelf.switched(name, off=frozenset({Place.OWN}))
    return shelf
