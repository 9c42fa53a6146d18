"""Are the files of an environment still those that were installed? Compares them with the RECORDs of its packages."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from aisops_runner.environments import record
from aisops_runner.environments.names import shown

MAX_FAULTS = 20


def site_packages(venv: Path) -> Path | None:
    """The folder of an environment's packages; None when there is none."""
    found = sorted(venv.glob("lib/python3.*/site-packages"))
    return found[0] if len(found) == 1 else None


def faults(venv: Path) -> list[str]:
    """What does not fit, for people; empty when everything does. At most `MAX_FAULTS`."""
    site = site_packages(venv)
    if site is None:
        return ["its site-packages folder is gone"]
    found: list[str] = []
    for info in sorted(site.glob("*.dist-info")):
        for fault in _of_package(info, venv):
            found.append(f"{shown(info.name.removesuffix('.dist-info'))}: {fault}")
            if len(found) >= MAX_FAULTS:
                return found
    return found


def fingerprint(info: Path) -> str:
    """Digest of a package's RECORD, which states the hash of every file: what discovery compares.

    Raises:
        OSError: It cannot be read.
    """
    text = (info / "RECORD").read_text(encoding="utf-8", errors="replace")
    return "record:" + hashlib.sha256(text.encode()).hexdigest()


def _of_package(info: Path, venv: Path) -> Iterator[str]:
    """Faults of one installed package."""
    try:
        with (info / "RECORD").open("rb") as file:
            rows = record.parse(file.read(record.MAX_BYTES + 1))
    except OSError:
        yield "its RECORD is gone"
        return
    except record.RecordInvalid as error:
        yield str(error)
        return
    root = os.path.realpath(venv)
    for row in rows:
        path = os.path.realpath(info.parent / row.path)
        if not path.startswith(root + os.sep):
            yield f"{shown(row.path)!r} in its RECORD leads outside the environment"
        elif row.algorithm:
            yield from _of_file(Path(path), row)


def _of_file(path: Path, row: record.Row) -> Iterator[str]:
    found = row.begin()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1024 * 1024):
                found.update(chunk)
    except OSError as error:
        yield f"{shown(row.path)!r}: {error.strerror}"
        return
    if not row.fits(found):
        yield f"{shown(row.path)!r} was changed"
