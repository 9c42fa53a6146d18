"""Builds one environment aside: chosen, locked, checked, filled, asked what it is. Nothing in use is touched."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.describe import describe, describe_argv, environment_of
from aisops_runner.adapters.discovery import Installed
from aisops_runner.clock import Clock
from aisops_runner.environments import integrity, locked, registry
from aisops_runner.environments.installers import Installer, Sources
from aisops_runner.environments.layout import Layout
from aisops_runner.environments.locked import Pin
from aisops_runner.environments.names import environment_id, plugin_name, shown
from aisops_runner.environments.programs import Surroundings
from aisops_runner.environments.shelf import Environment
from aisops_runner.environments.wanted import Wanted, distribution_name, same_version
from aisops_runner.environments.wheels import check_wheel, entry_points, sha256_of
from aisops_runner.errors import PluginBroken, PluginRefused

Progress = Callable[[str], None]
Check = Callable[[Environment, Manifest], None]
"""Refuses what may not be taken into use."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to build, and from what.

    Attributes:
        wanted: The package.
        wheelhouse: A folder with wheels, and then nothing else is asked; None: the package index.
        lock: The text of a lock that was given, or None to make one.
    """

    wanted: Wanted
    wheelhouse: Path | None = None
    lock: str | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A whole environment that nothing uses yet."""

    environment: Environment
    manifest: Manifest


class Builder:
    """Builds environments.

    Args:
        layout: Where.
        installer: With what.
        env: The caller's environment.
        clock: For the time at which an environment was whole.
        held: The descriptor of the command's lock, which the installer's programs inherit.
        describe_timeout_s: Seconds a plugin may take to describe itself.
        say: Told each step as it begins.
    """

    def __init__(
        self,
        layout: Layout,
        installer: Installer,
        *,
        env: Mapping[str, str],
        clock: Clock,
        held: int,
        describe_timeout_s: float,
        say: Progress,
    ) -> None:
        self._layout = layout
        self._installer = installer
        self._env = env
        self._clock = clock
        self._held = held
        self._describe_timeout_s = describe_timeout_s
        self._say = say

    def build(self, order: Order, *, check: Check) -> Built:
        """Build one environment.

        Args:
            order: What, and from what.
            check: Refuses what may not be taken into use; called before the environment counts as whole.

        Raises:
            PluginRefused: A wheel, the lock, the plugin or `check` says no.
            PluginBroken: The plugin does not describe itself.
            InstallFailed: The installer did not do its work.
            OSError: The disk refused.
        """
        scratch = self._layout.building
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True, mode=0o700)
        try:
            return self._build(order, scratch, check)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _build(self, order: Order, scratch: Path, check: Check) -> Built:
        around = self._surroundings(order)
        sources = self._sources(order, scratch)
        self._say(f"choosing versions ({self._installer.name})")
        if order.lock is None:
            pins = self._installer.resolve(order.wanted.requirement, sources, around, scratch)
        else:
            pins = locked.parse(order.lock)
        pins = self._only_the_named_wheel(order, pins)
        pin = locked.find(pins, order.wanted.distribution)
        self._say("checking the wheels")
        check_wheels(sources.folders, pins)
        identity = environment_id(pin.distribution, pin.version, secrets.token_hex(4))
        try:
            self._fill(identity, pins, pin, sources, around)
            return self._finish(identity, pin, check)
        except BaseException:
            shutil.rmtree(self._layout.environment(identity), ignore_errors=True)
            raise

    def _fill(self, identity: str, pins: Sequence[Pin], pin: Pin, sources: Sources, around: Surroundings) -> None:
        """Make the environment and put exactly what was locked into it."""
        layout = self._layout
        layout.environment(identity).mkdir(parents=True, mode=0o700)
        lock = layout.requirements(identity)
        lock.write_text(locked.render(pins), encoding="utf-8")
        self._say(f"making the environment of {pin.distribution} {pin.version}")
        self._installer.make(layout.venv(identity), around, layout.building)
        self._say(f"installing {len(pins)} packages")
        self._installer.fill(layout.venv(identity), lock, sources, around, layout.building)
        if faults := integrity.faults(layout.venv(identity)):
            text = f"{pin.distribution} was changed after it was built: {faults[0]}; get it again from its maker"
            raise PluginRefused(pin.distribution, text, code="record_mismatch")

    def _finish(self, identity: str, pin: Pin, check: Check) -> Built:
        """Find out what the environment holds, and write it down once that may be used."""
        layout = self._layout
        found = self._look_at(identity, pin)
        self._say(f"asking {found.name} what it offers")
        manifest = ask(registry.installed_of(found, layout), layout, self._env, self._describe_timeout_s)
        check(found, manifest)
        os.sync()  # the environment's files before the names that stand for them
        registry.store_environment(layout, found, manifest)
        return Built(found, manifest)

    def _look_at(self, identity: str, pin: Pin) -> Environment:
        """Read from its metadata, as text, what was installed."""
        info, distribution = _installed(self._layout.venv(identity), pin)
        points = entry_points(distribution.read_text("entry_points.txt") or "")
        if len(points) != 1:
            named = ", ".join(shown(name) for name in points) or "none"
            text = f"{pin.distribution} {pin.version} must bring exactly one plugin; its entry points: {named}"
            raise PluginRefused(pin.distribution, text, code="not_one_plugin")
        name, value = next(iter(points.items()))
        return Environment(
            id=identity,
            name=plugin_name(name),
            entry_point=value[:500],
            distribution=pin.distribution,
            version=pin.version,
            fingerprint=integrity.fingerprint(info),
            built_unix_ms=self._clock.unix_ms(),
        )

    def _surroundings(self, order: Order) -> Surroundings:
        """What the installer sees. What it fetched is kept for the next time; what lay in a folder is read anew.

        Files are copied, not linked: with links, a file changed in one environment is changed in all of them, and in
        the cache from which a damaged one would be built again.
        """
        offline = order.wheelhouse is not None
        extra = {"UV_LINK_MODE": "copy"}
        if offline or "UV_CACHE_DIR" not in self._env:
            extra["UV_CACHE_DIR"] = str(self._layout.building / "cache" if offline else self._layout.cache)
        return Surroundings(self._env, offline=offline, held=self._held, extra=extra)

    def _sources(self, order: Order, scratch: Path) -> Sources:
        """Where packages come from; a wheel that was named is offered alone, without its neighbours."""
        folders: list[Path] = []
        if order.wanted.wheel is not None:
            offered = scratch / "named"
            offered.mkdir()
            shutil.copyfile(order.wanted.wheel, offered / order.wanted.wheel.name)
            folders.append(offered)
        if order.wheelhouse is not None:
            if not order.wheelhouse.is_dir():
                text = f"{order.wheelhouse} is no folder; --wheelhouse names one that holds wheels"
                raise PluginRefused(order.wanted.distribution, text, code="no_wheelhouse")
            folders.append(order.wheelhouse.resolve())
        return Sources(tuple(folders), index=order.wheelhouse is None)

    def _only_the_named_wheel(self, order: Order, pins: list[Pin]) -> list[Pin]:
        """A wheel that was named is the one that is installed, also where an index has another of that version."""
        if order.wanted.wheel is None:
            return pins
        digest = sha256_of(order.wanted.wheel)
        pin = locked.find(pins, order.wanted.distribution)
        if order.lock is not None and digest not in pin.hashes:
            text = f"{order.wanted.wheel.name} is not the file that the lock names: its SHA-256 is {digest}"
            raise PluginRefused(pin.distribution, text, code="lock_mismatch")
        return locked.narrowed(pins, {pin.distribution: digest})


def ask(installed: Installed, layout: Layout, env: Mapping[str, str], timeout_s: float) -> Manifest:
    """Have a plugin in an environment of its own describe itself, in a process of its own.

    Raises:
        PluginBroken: It does not, or contradicts itself.
    """
    argv = describe_argv(installed.name, installed.python)
    around = environment_of(installed, env)
    layout.plugins.mkdir(parents=True, exist_ok=True, mode=0o700)
    return asyncio.run(describe(installed.name, timeout_s=timeout_s, env=around, cwd=layout.plugins, argv=argv))


def check_wheels(folders: Sequence[Path], pins: Sequence[Pin]) -> None:
    """Look into every wheel of these folders that a lock may mean.

    Raises:
        PluginRefused: One was changed after it was built, or is no sound wheel.
        OSError: One cannot be read.
    """
    allowed = {digest for pin in pins for digest in pin.hashes}
    for path in sorted(path for folder in folders for path in folder.glob("*.whl")):
        if sha256_of(path) in allowed:
            check_wheel(path)


def _installed(venv: Path, pin: Pin) -> tuple[Path, Distribution]:
    """The folder and the metadata of the package that was asked for."""
    site = integrity.site_packages(venv)
    for info in sorted(site.glob("*.dist-info")) if site else []:
        distribution = PathDistribution(info)
        try:
            name, version = distribution.metadata["Name"], distribution.version
        except (KeyError, OSError, UnicodeError):
            continue
        if name and distribution_name(name) == pin.distribution:
            if not same_version(version, pin.version):
                text = f"{pin.distribution} {pin.version} was asked for, and {shown(version)} is what was installed"
                raise PluginRefused(pin.distribution, text, code="version_mismatch")
            return info, distribution
    raise PluginBroken(pin.distribution, f"{pin.distribution} was installed and is not there", code="install_failed")
