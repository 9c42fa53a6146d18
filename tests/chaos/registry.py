"""Every fault of the suite, found in the files of `tests/chaos/faults`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection
from pathlib import Path

from tests.chaos.fault import Fault

FOLDER = Path(__file__).parent / "faults"


class UnknownFault(Exception):
    """A fault was asked for that the suite does not have."""


def all_faults() -> tuple[Fault, ...]:
    """Every fault, by number.

    Raises:
        ValueError: Two faults have one id.
    """
    found: dict[str, Fault] = {}
    for module in sorted(pkgutil.iter_modules([str(FOLDER)]), key=lambda one: one.name):
        for fault in importlib.import_module(f"tests.chaos.faults.{module.name}").FAULTS:
            if fault.id in found:
                raise ValueError(f"two faults are called {fault.id}")
            found[fault.id] = fault
    return tuple(sorted(found.values(), key=lambda fault: fault.number))


def chosen(names: Collection[str]) -> tuple[Fault, ...]:
    """The faults of these ids; all when none is named.

    Raises:
        UnknownFault: There is no such fault.
    """
    faults = all_faults()
    known = {fault.id for fault in faults}
    if strangers := sorted(set(names) - known):
        raise UnknownFault(f"no such fault: {', '.join(strangers)}; there are {', '.join(f.id for f in faults)}")
    return tuple(fault for fault in faults if not names or fault.id in names)
