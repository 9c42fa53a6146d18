"""Asks a plugin about itself in a process of its own, so that its code is never imported by the tool that asks."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aisops_plugin_sdk.errors import JsonRefused, ManifestError, SourceError
from aisops_plugin_sdk.json_strict import loads
from aisops_plugin_sdk.manifest import Manifest

LIMIT_S = 60.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV")
_TAIL_CHARS = 1500


def describe(name: str, *, paths: Sequence[Path] = ()) -> Manifest:
    """Ask the plugin `name` for its manifest.

    Args:
        name: its entry point.
        paths: folders that are searched before everything installed.

    Raises:
        SourceError: it gave none; the text is its own.
    """
    document = ask(("-m", "aisops_plugin_sdk", "describe", name), paths=paths)
    try:
        return Manifest.parse(document)
    except ManifestError as error:
        raise SourceError(f"what {name} describes is no manifest: {error}") from None


def ask(arguments: Sequence[str], *, paths: Sequence[Path] = ()) -> dict[str, Any]:
    """Run this Python with arguments and read the one JSON object it prints.

    The process sees a few variables of the environment only, and ends with its children after a minute.

    Raises:
        SourceError: it printed something else, was too slow, or failed; with the end of what it wrote to stderr.
    """
    searched = [*map(str, paths), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    env |= {"PYTHONPATH": os.pathsep.join(filter(None, searched)), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complained:
        code = _run([sys.executable, "-P", *arguments], env, printed.fileno(), complained.fileno())
        printed.seek(0)
        answer = printed.read(MAX_ANSWER_BYTES + 1)
        complained.seek(0, os.SEEK_END)
        complained.seek(max(0, complained.tell() - _TAIL_CHARS))
        tail = complained.read().decode(errors="replace").strip()
    document = _document(answer, tail)
    if code != 0:
        raise SourceError(f"{document.get('error', 'it failed and did not say why')}{_after(tail)}")
    return document


def _run(command: Sequence[str], env: dict[str, str], stdout: int, stderr: int) -> int:
    """Run a process group of its own to its end. Returns the exit code."""
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
    )
    try:
        return process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        raise SourceError(f"the plugin did not describe itself within {LIMIT_S:.0f} s; does its import wait?") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _document(answer: bytes, tail: str) -> dict[str, Any]:
    try:
        document = loads(answer, limit_bytes=MAX_ANSWER_BYTES)
    except JsonRefused:
        document = None
    if not isinstance(document, dict):
        raise SourceError(f"the plugin described itself in something that is not JSON{_after(tail)}")
    return document


def _after(tail: str) -> str:
    shown = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in tail)
    return f"\nIt wrote:\n{shown}" if shown else ""
