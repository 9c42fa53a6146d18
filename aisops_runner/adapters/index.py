"""The plugin index: what `describe` found last time, so that a start runs no plugin's code that did not change.

One JSON file, replaced atomically. Entries are valid for one distribution, version and fingerprint, under one Python
and one SDK. A damaged or edited index is not an error: everything is described again. Manifests were checked when they
were described; a digest over the file says that they still are what was checked, because checking a thousand of them
against the JSON Schema again would cost seconds at every start.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from aisops_plugin_sdk.manifest import CapabilitySpec, EnvSpec, Manifest
from aisops_runner import disk
from aisops_runner.adapters.discovery import Installed
from aisops_runner.adapters.kinds import Foreign, Kind

VERSION = 2
MAX_BYTES = 64 * 1024 * 1024

_log = structlog.get_logger("aisops_runner.index")


@dataclass(frozen=True, slots=True)
class Entry:
    """One plugin as described: a manifest, or why there is none. `foreign` is set for one written for the original."""

    installed: Installed
    manifest: Manifest | None
    code: str = ""
    reason: str = ""
    described_unix_ms: int = 0
    foreign: Foreign | None = None

    @property
    def broken(self) -> bool:
        """Whether the plugin cannot be used."""
        return self.manifest is None

    @property
    def kind(self) -> Kind:
        """How it is hosted."""
        return self.foreign.kind if self.foreign is not None else Kind.PACKAGE


class Index:
    """Entries by plugin name, in a file.

    Args:
        path: The file; its folder is created on the first save.
        made_by: Names the Python and the SDK that described; entries made by others are not used.
    """

    def __init__(self, path: Path, *, made_by: str) -> None:
        self._path = path
        self._made_by = made_by
        self._entries: dict[str, Entry] = {}

    def load(self) -> None:
        """Read the file; a missing, foreign or damaged one leaves the index empty."""
        self._entries = {}
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("plugin index cannot be read; describing all plugins again", error=str(error))
            return
        try:
            self._entries = _parse(raw, self._made_by)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            _log.warning("plugin index is damaged; describing all plugins again", error=str(error)[:200])

    def find(self, installed: Installed) -> Entry | None:
        """What is known of exactly this installation."""
        entry = self._entries.get(installed.name)
        return entry if entry is not None and entry.installed == installed else None

    def put(self, entry: Entry) -> None:
        """Remember one description."""
        self._entries[entry.installed.name] = entry

    def keep_only(self, names: set[str]) -> None:
        """Forget plugins that are no longer installed."""
        self._entries = {name: entry for name, entry in self._entries.items() if name in names}

    def save(self) -> None:
        """Replace the file atomically.

        Raises:
            OSError: The folder cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        plugins = _dump([_document(entry) for _, entry in sorted(self._entries.items())])
        head = _dump({"aisops_index": VERSION, "made_by": self._made_by, "sha256": hashlib.sha256(plugins).hexdigest()})
        raw = head + b"\n" + plugins + b"\n"
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".index-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            disk.replace(Path(temporary), self._path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _parse(raw: bytes, made_by: str) -> dict[str, Entry]:
    if len(raw) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    head, _, plugins = raw.rstrip(b"\n").partition(b"\n")
    facts = json.loads(head)
    if facts["aisops_index"] != VERSION or facts["made_by"] != made_by:
        return {}
    if hashlib.sha256(plugins).hexdigest() != facts["sha256"]:
        raise ValueError("its digest does not fit")
    entries = [_entry(item) for item in json.loads(plugins)]
    return {entry.installed.name: entry for entry in entries}


def _dump(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _entry(item: Mapping[str, Any]) -> Entry:
    keys = ("name", "entry_point", "distribution", "version", "fingerprint", "python")
    manifest = item["manifest"]
    return Entry(
        installed=Installed(**{key: str(item[key]) for key in keys}),
        manifest=None if manifest is None else _manifest(manifest),
        code=str(item["code"]),
        reason=str(item["reason"]),
        described_unix_ms=int(item["described_unix_ms"]),
    )


def _manifest(document: Mapping[str, Any]) -> Manifest:
    """A manifest from a document that was checked before."""
    return Manifest(
        name=document["name"],
        version=document["version"],
        sdk_version=document["sdk_version"],
        contract=tuple(document["contract"]),
        capabilities=tuple(_capability(item) for item in document["capabilities"]),
        env=tuple(EnvSpec(**item) for item in document["env"]),
        max_concurrency=document["max_concurrency"],
        startup_timeout_s=document["startup_timeout_ms"] / 1000,
        features=frozenset(document["features"]),
        channel=document["channel"],
        body_limit_bytes=document["body_limit_bytes"],
        description=document["description"],
    )


def _capability(item: Mapping[str, Any]) -> CapabilitySpec:
    return CapabilitySpec(
        name=item["name"],
        description=item["description"],
        effect_class=item["effect_class"],
        channel=item["channel"],
        timeout_s=item["timeout_ms"] / 1000,
        input_schema=item["input_schema"],
        output_schema=item["output_schema"],
    )


def _document(entry: Entry) -> dict[str, Any]:
    found = entry.installed
    return {
        "name": found.name,
        "entry_point": found.entry_point,
        "distribution": found.distribution,
        "version": found.version,
        "fingerprint": found.fingerprint,
        "python": found.python,
        "manifest": None if entry.manifest is None else entry.manifest.to_document(),
        "code": entry.code,
        "reason": entry.reason,
        "described_unix_ms": entry.described_unix_ms,
    }
