"""Which program runs an entry point, and whether it is new enough. Runs `node --version`, never a plugin's code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aisops_runner.adapters.foreign.document import ManifestFault, Runtime
from aisops_runner.adapters.foreign.files import read_regular

VERSION_S: Final = 5.0
STRIP_TYPES: Final = (22, 6)
"""The first Node that runs TypeScript with `--experimental-strip-types`, as the original's plugins need it."""
PACKAGE_BYTES: Final = 256 * 1024
_TYPESCRIPT: Final = frozenset({".ts", ".mts", ".cts"})
_VERSION: Final = re.compile(rb"v(\d{1,4})\.(\d{1,4})\.(\d{1,6})")
_AT_LEAST: Final = re.compile(r"\s*(?:>=|\^|~)?\s*v?(\d{1,4})(?:\.(\d{1,4}))?(?:\.(?:\d{1,6}|x|\*))?\s*", re.ASCII)

Version = tuple[int, int]


async def command(runtime: Runtime, entry: Path, folder: Path, *, chosen: Path | None, path: str) -> tuple[str, ...]:
    """The command that starts a plugin.

    Args:
        runtime: What its manifest says.
        entry: Its entry point, resolved.
        folder: Its folder.
        chosen: The operator's interpreter, or None.
        path: The PATH to look on.

    Raises:
        ManifestFault: There is no such interpreter, or it is too old; says which would do.
    """
    if runtime.type == "binary":
        return (str(entry),)
    if runtime.type == "python":
        found = _find("python3", chosen, path) or sys.executable
        return (found, str(entry))
    node = _find("node", chosen, path)
    if node is None:
        text = "needs Node, and there is none on PATH; install it, or name it: [plugins.NAME] interpreter = …"
        raise ManifestFault(text, field="runtime.type")
    typed = entry.suffix in _TYPESCRIPT
    needed = max(wanted_node(folder), STRIP_TYPES if typed else (0, 0))
    if needed > (0, 0):
        await _check_node(node, needed)
    return (node, *(("--experimental-strip-types",) if typed else ()), str(entry))


def wanted_node(folder: Path) -> Version:
    """The oldest Node that the plugin's own package.json (`engines.node`) takes; (0, 0) where it does not say.

    Only a single lower bound is understood; what means more than that is left to Node and the plugin.
    """
    with contextlib.suppress(OSError, ValueError, RecursionError):
        document = json.loads(read_regular(folder / "package.json", PACKAGE_BYTES, within=folder))
        engines = document.get("engines") if isinstance(document, dict) else None
        if isinstance(engines, Mapping) and (found := _AT_LEAST.fullmatch(str(engines.get("node", "")))):
            return int(found[1]), int(found[2] or 0)
    return 0, 0


def _find(name: str, chosen: Path | None, path: str) -> str | None:
    if chosen is None:
        found = shutil.which(name, path=path)
        return None if found is None else str(Path(found).absolute())
    if shutil.which(str(chosen)) is None:
        raise ManifestFault(f"the interpreter {chosen} is not a program that can be run", field="runtime.type")
    return str(chosen)


async def _check_node(node: str, needed: Version) -> None:
    found = await _node_version(node)
    if found is None:
        raise ManifestFault(f"{node} does not say which version it is", field="runtime.type")
    if found < needed:
        wanted, has = ".".join(map(str, needed)), ".".join(map(str, found))
        text = (
            f"needs Node {wanted} or newer, and {node} is {has}; install a newer one, or name it: "
            "[plugins.NAME] interpreter = …"
        )
        raise ManifestFault(text, field="runtime.type")


async def _node_version(node: str) -> Version | None:
    try:
        process = await asyncio.create_subprocess_exec(
            node,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(VERSION_S):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    found = _VERSION.match(out)
    return (int(found[1]), int(found[2])) if found else None
