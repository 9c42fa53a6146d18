"""What every start of one plugin has in common, put together from what is known of it and what the operator set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.calls import JobLog
from aisops_runner.adapters.index import Entry
from aisops_runner.sidecars.process import SidecarSpec, serve_argv
from aisops_runner.sidecars.runfile import RunFile


@dataclass(frozen=True, slots=True)
class Ground:
    """What the plugins of one Runner share.

    Attributes:
        folder: The fleet's own folder.
        env: The Runner's environment.
        dry_run: Whether nothing may leave.
        on_log: Takes every log line.
        redact: Takes secrets out of a text.
        register_secret: Told every secret value.
    """

    folder: Path
    env: Mapping[str, str]
    dry_run: bool
    on_log: Callable[[JobLog], None]
    redact: Callable[[str], str]
    register_secret: Callable[[str], None]


def spec_of(entry: Entry, manifest: Manifest, configured: Mapping[str, str], ground: Ground) -> SidecarSpec:
    """The spec of one plugin. A package works in a folder of its own, a foreign program where its manifest says."""
    foreign = entry.foreign
    home = ground.folder / "home" / manifest.name
    if foreign is None:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return SidecarSpec(
        manifest=manifest,
        argv=serve_argv(manifest.name, entry.installed.python) if foreign is None else foreign.argv,
        runner_env=ground.env,
        configured=configured,
        run_file=RunFile(ground.folder / "run" / f"{manifest.name}.json"),
        cwd=home if foreign is None or foreign.cwd is None else foreign.cwd,
        dry_run=ground.dry_run,
        on_log=ground.on_log,
        redact=ground.redact,
        register_secret=ground.register_secret,
        foreign=foreign,
    )
