"""Asks a plugin what it offers, in a process of its own: whatever its import does, the Runner does not feel it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge, ManifestError
from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.child import Child
from aisops_runner.adapters.discovery import Installed
from aisops_runner.adapters.pipes import ByteCollector, open_pipe
from aisops_runner.errors import PluginBroken

STDOUT_CAP_BYTES = 1024 * 1024
STDERR_CAP_BYTES = 256 * 1024
CLOSE_S = 1.0  # for the pipes to drain after the exit
REASON_CHARS = 500
LIFELINE = {"AISOPS_LIFELINE": "stdin"}
"""Tells the SDK that it is a Runner's child: it asks the kernel to end it with the Runner, also while it imports."""
OF_THE_RUNNER = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"})
BASE_ENV = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV")


def describe_argv(name: str, python: str = "") -> list[str]:
    """The command that describes a plugin of an environment, this one by default.

    `-P`: the working directory is not importable.
    """
    return [python or sys.executable, "-P", "-m", "aisops_plugin_sdk", "describe", name]


def environment_of(installed: Installed, env: Mapping[str, str]) -> Mapping[str, str]:
    """The Runner's environment as a plugin's processes may inherit it.

    What points Python at the Runner's own packages is for plugins beside it alone: in an environment of its own it
    would put other versions of the same packages before those that were installed and checked there.
    """
    if not installed.python:
        return env
    return {name: value for name, value in env.items() if name not in OF_THE_RUNNER}


def base_env(env: Mapping[str, str]) -> dict[str, str]:
    """What every child of ours may see of the Runner's environment."""
    return {name: env[name] for name in BASE_ENV if name in env}


async def describe(
    name: str,
    *,
    timeout_s: float,
    env: Mapping[str, str],
    cwd: Path | None = None,
    argv: Sequence[str] | None = None,
) -> Manifest:
    """Run `describe` for one plugin.

    Args:
        name: The plugin's entry point.
        timeout_s: Seconds it may take; then its whole process group is killed.
        env: The Runner's environment; only a few harmless variables of it are passed on.
        cwd: Working directory of the child.
        argv: Another command, for programs that are not Python packages.

    Raises:
        PluginBroken: Codes `describe_timeout`, `describe_failed`, `import_failed` and others of the SDK,
            `describe_too_large`, `manifest_invalid`.
    """
    out = ByteCollector(STDOUT_CAP_BYTES)
    err = ByteCollector(STDERR_CAP_BYTES)
    with ExitStack() as cleanup:
        fds = [await _pipe(collector, cleanup) for collector in (out, err)]
        try:
            child = Child.spawn(
                argv or describe_argv(name), env=base_env(env) | LIFELINE, cwd=cwd, stdout=fds[0], stderr=fds[1]
            )
        except OSError as error:
            raise PluginBroken(name, f"cannot start its describe process: {error}", code="describe_failed") from None
        finally:
            for fd in fds:
                os.close(fd)
        out.on_overflow = child.kill_group
        try:
            exited = await child.wait(timeout_s)
        finally:
            await asyncio.shield(child.kill())
        await asyncio.wait((out.closed, err.closed), timeout=CLOSE_S)
    if out.overflowed:
        raise PluginBroken(name, f"described itself in more than {STDOUT_CAP_BYTES} bytes", code="describe_too_large")
    if not exited:
        hint = _last_line(err.data)
        text = f"did not describe itself within {timeout_s:g} s" + (f" (last words: {hint})" if hint else "")
        raise PluginBroken(name, text, code="describe_timeout")
    return _manifest(name, child.exited.result(), out.data, err.data)


async def _pipe(collector: ByteCollector, cleanup: ExitStack) -> int:
    transport, write_fd = await open_pipe(lambda: collector)
    cleanup.callback(transport.close)
    return write_fd


def _manifest(name: str, code: int, out: bytes, err: bytes) -> Manifest:
    try:
        document = json_strict.loads(out.strip(), limit_bytes=STDOUT_CAP_BYTES)
    except (JsonRefused, JsonTooLarge) as error:
        if code:
            raise PluginBroken(name, _exit_text(code, err), code="describe_failed") from None
        raise PluginBroken(name, f"describe printed no manifest: {error}", code="manifest_invalid") from None
    if not isinstance(document, dict):
        raise PluginBroken(name, "describe printed no manifest: not a JSON object", code="manifest_invalid")
    if document.get("ok") is False:
        reason = str(document.get("error") or "no reason given")
        raise PluginBroken(name, reason[:REASON_CHARS], code=str(document.get("code") or "describe_failed")[:64])
    if code:
        raise PluginBroken(name, _exit_text(code, err), code="describe_failed")
    try:
        manifest = Manifest.parse(document)
    except ManifestError as error:
        raise PluginBroken(name, f"its manifest is invalid: {error}", code="manifest_invalid") from None
    if manifest.name != name:
        text = f"its entry point is {name!r} but it calls itself {manifest.name!r}; make the two equal"
        raise PluginBroken(name, text, code="manifest_invalid")
    return manifest


def _exit_text(code: int, err: bytes) -> str:
    ending = f"was ended by signal {-code}" if code < 0 else f"exited with code {code}"
    hint = _last_line(err)
    return f"its describe process {ending}" + (f": {hint}" if hint else "")


def _last_line(raw: bytes) -> str:
    lines = [line.strip() for line in raw.decode("utf-8", "replace").splitlines() if line.strip()]
    return "".join(char if char.isprintable() else "?" for char in lines[-1])[:REASON_CHARS] if lines else ""
