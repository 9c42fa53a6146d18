"""The file that names the environments in use: read whole, replaced whole.

Its replacement is the one moment in which an installation, an upgrade, a way back or a disabling happens. It is never
guessed at: when it is damaged or gone while environments stand there, commands refuse and say how it is mended.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aisops_plugin_sdk.errors import ManifestError
from aisops_plugin_sdk.manifest import Manifest
from aisops_runner import disk
from aisops_runner.adapters.discovery import Installed, Place
from aisops_runner.adapters.places import Elsewhere
from aisops_runner.environments.layout import Layout
from aisops_runner.environments.names import is_environment_id, plugin_name
from aisops_runner.environments.shelf import Environment, Holding, Shelf
from aisops_runner.errors import RegistryDamaged, RunnerError

T = TypeVar("T")

VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
MAX_MANIFEST_BYTES = 1024 * 1024
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, RunnerError)


def read(layout: Layout) -> Shelf:
    """What is installed.

    Raises:
        RegistryDamaged: The file cannot be made sense of, or is gone while there are environments.
        OSError: The disk refused.
    """
    return _understood(layout, _shelf) or Shelf()


def write(layout: Layout, shelf: Shelf) -> None:
    """Replace the file; on the disk when this returns.

    Raises:
        OSError: The disk refused; the old file stands.
    """
    body = _dump(
        {
            "plugins": [_holding_document(held) for _, held in sorted(shelf.holdings.items())],
            "off": {name: sorted(places) for name, places in sorted(shelf.off.items())},
        }
    )
    head = _dump({"aisops_installed": VERSION, "sha256": hashlib.sha256(body).hexdigest()})
    replace_file(layout.registry, head + b"\n" + body + b"\n")


def elsewhere(folder: Path) -> Elsewhere:
    """What the Runner's discovery asks: the plugins in environments of their own. No environment is looked into.

    Args:
        folder: DATA/plugins.

    Raises:
        RegistryDamaged: The file cannot be made sense of.
        StorageFailed: The disk refused.
    """
    layout = Layout(folder)
    try:
        return _understood(layout, partial(_elsewhere, layout)) or Elsewhere()
    except OSError as error:
        raise disk.refusal(f"cannot read {layout.registry}", error, layout.registry) from error


def installed_of(one: Environment, layout: Layout) -> Installed:
    """An environment as discovery knows plugins."""
    return Installed(one.name, one.entry_point, one.distribution, one.version, one.fingerprint, layout.python(one.id))


def stored_manifest(layout: Layout, identity: str) -> Manifest | None:
    """What the plugin said of itself when the environment was made; None when that cannot be read any more."""
    try:
        with layout.manifest(identity).open("rb") as file:
            return Manifest.parse(json.loads(file.read(MAX_MANIFEST_BYTES)))
    except (OSError, ManifestError, *_UNREADABLE):
        return None


def stored_environment(layout: Layout, identity: str) -> Environment | None:
    """What a whole environment says of itself; None for one that is half made or unreadable."""
    try:
        with layout.facts(identity).open("rb") as file:
            found = _environment(json.loads(file.read(MAX_MANIFEST_BYTES)))
    except (OSError, *_UNREADABLE):
        return None
    return found if found.id == identity else None


def store_environment(layout: Layout, one: Environment, manifest: Manifest) -> None:
    """Write down what an environment holds; the last step that makes it whole.

    Raises:
        OSError: The disk refused.
    """
    replace_file(layout.manifest(one.id), _dump(manifest.to_document()))
    replace_file(layout.facts(one.id), _dump(asdict(one)))


def folders(layout: Layout) -> list[str]:
    """Names of what stands in the folder of the environments."""
    try:
        return sorted(entry.name for entry in os.scandir(layout.environments))
    except FileNotFoundError:
        return []


def replace_file(path: Path, raw: bytes) -> None:
    """Give a file new content in one step; on the disk when this returns.

    Raises:
        OSError: The disk refused; the old content stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        disk.replace(Path(draft), path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _damaged(layout: Layout, how: str) -> RegistryDamaged:
    return RegistryDamaged(
        f"{layout.registry}, which says what plugins are installed, {how}; nothing was changed. Mend it with: "
        "aisops-runner plugin doctor --repair (it is made again from the environments that stand there: the newest "
        "version of each, disabled until you enable it)"
    )


def _understood(layout: Layout, understand: Callable[[Mapping[str, Any]], T]) -> T | None:
    """Read the file; None when there is none and nothing is installed."""
    try:
        raw = layout.registry.read_bytes()
    except FileNotFoundError:
        if any(is_environment_id(name) and layout.facts(name).exists() for name in folders(layout)):
            raise _damaged(layout, "is gone") from None
        return None
    try:
        return understand(_parse(raw))
    except _UNREADABLE as error:
        raise _damaged(layout, f"is damaged ({str(error)[:100]})") from None


def _parse(raw: bytes) -> Mapping[str, Any]:
    if len(raw) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    head, _, body = raw.rstrip(b"\n").partition(b"\n")
    facts = json.loads(head)
    if facts["aisops_installed"] != VERSION:
        raise ValueError("written by another version")
    if hashlib.sha256(body).hexdigest() != facts["sha256"]:
        raise ValueError("its digest does not fit")
    document: Mapping[str, Any] = json.loads(body)
    return document


def _shelf(document: Mapping[str, Any]) -> Shelf:
    holdings = {item["now"]["name"]: _holding(item) for item in document["plugins"]}
    return Shelf(holdings, _off(document))


def _elsewhere(layout: Layout, document: Mapping[str, Any]) -> Elsewhere:
    """Straight from the document: every start of a Runner waits for this."""
    ids = {item["now"]["name"]: item["now"]["id"] for item in document["plugins"]}
    for name, identity in ids.items():
        _check(name, identity)
    found = tuple(
        Installed(
            now["name"],
            now["entry_point"],
            now["distribution"],
            now["version"],
            now["fingerprint"],
            layout.python(now["id"]),
        )
        for now in (item["now"] for item in document["plugins"])
    )
    return Elsewhere(found, _off(document), lambda installed: stored_manifest(layout, ids[installed.name]))


def _off(document: Mapping[str, Any]) -> dict[str, frozenset[Place]]:
    return {name: frozenset(map(Place, places)) for name, places in document["off"].items()}


def _holding(item: Mapping[str, Any]) -> Holding:
    before = item["before"]
    return Holding(_environment(item["now"]), None if before is None else _environment(before))


def _environment(item: Mapping[str, Any]) -> Environment:
    """Read one; what becomes a path is checked again, also in a file that only we write."""
    found = Environment(**item)
    _check(found.name, found.id)
    return found


def _check(name: str, identity: str) -> None:
    if not is_environment_id(identity):
        raise ValueError(f"no environment's name: {identity[:80]!r}")
    plugin_name(name)


def _holding_document(held: Holding) -> dict[str, Any]:
    return {"now": asdict(held.now), "before": None if held.before is None else asdict(held.before)}


def _dump(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
