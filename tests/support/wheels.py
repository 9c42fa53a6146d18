"""Makes small wheels by hand: sound ones in milliseconds, and ones that no build tool would make."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

OTHER_SDK = '''
"""A second implementation of what the Runner asks of an SDK: `describe` prints the manifest that the plugin holds."""
import sys
from importlib.metadata import entry_points

command, name = sys.argv[1:]
print(next(iter(entry_points(group="aisops.plugins", name=name))).load())
'''


def row(path: str, raw: bytes) -> str:
    """A row of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
    return f"{path},sha256={digest},{len(raw)}\n"


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    requires: Sequence[str] = (),
    entry_points: Mapping[str, str] | None = None,
    tampered: Mapping[str, str] | None = None,
    metadata: str = "",
) -> Path:
    """Write a wheel.

    Args:
        folder: Where.
        name: The package.
        version: Its version.
        files: Content by path.
        requires: What it needs.
        entry_points: Of group aisops.plugins.
        tampered: Content that takes the place of a file's after RECORD was made.
        metadata: METADATA, when it is to say something else than the file's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    content = dict(files)
    content[f"{info}/METADATA"] = metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if entry_points:
        lines = "".join(f"{plugin} = {value}\n" for plugin, value in entry_points.items())
        content[f"{info}/entry_points.txt"] = f"[aisops.plugins]\n{lines}"
    content[f"{info}/RECORD"] = (
        "".join(row(path, text.encode()) for path, text in content.items()) + f"{info}/RECORD,,\n"
    )
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in (content | dict(tampered or {})).items():
            archive.writestr(member, text)
    return path


def make_sdk(folder: Path) -> Path:
    """A tiny SDK without dependencies, so that an environment is made in moments and without an index."""
    files = {"aisops_plugin_sdk/__init__.py": "", "aisops_plugin_sdk/__main__.py": OTHER_SDK}
    return make_wheel(folder, "aisops-plugin-sdk", "0.1.0", files)


def manifest(name: str, version: str, **changes: object) -> dict[str, object]:
    """A manifest with one capability, `NAME.send`, that takes `text`."""
    capability = {
        "name": f"{name.replace('-', '_')}.send",
        "effect_class": "idempotent",
        "timeout_ms": 5000,
        "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": False},
        "output_schema": {"type": "object", "properties": {"id": {"type": "string"}}},
    }
    document = {
        "aisops_manifest": 1, "name": name, "version": version, "sdk_version": "0.1.0", "contract": [1],
        "capabilities": [capability], "env": [],
    }  # fmt: skip
    return document | changes


def make_plugin(
    folder: Path,
    version: str,
    *,
    name: str = "acme-chat",
    distribution: str = "acme-chat",
    source: str = "",
    **changes: object,
) -> Path:
    """A plugin for the tiny SDK: its object is its manifest, as JSON.

    Args:
        folder: Where.
        version: Of the package and, unless changed, of the plugin.
        name: The plugin.
        distribution: The package.
        source: The module, when it is to do something else.
        changes: Of the manifest; and `tampered`, `requires`, as `make_wheel` has them.
    """
    options = {key: changes.pop(key) for key in ("tampered", "metadata", "requires") if key in changes}
    options.setdefault("requires", ["aisops-plugin-sdk>=0.1,<1"])
    module = distribution.replace("-", "_")
    document = json.dumps(manifest(name, version) | changes)
    files = {f"{module}.py": source or f"plugin = {document!r}\n"}
    return make_wheel(folder, distribution, version, files, entry_points={name: f"{module}:plugin"}, **options)  # type: ignore[arg-type]
