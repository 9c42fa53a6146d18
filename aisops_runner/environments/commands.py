"""What customers do with plugins in environments of their own: install, upgrade, go back, uninstall, switch on and off.

Each command changes one thing: the file that says which environment is in use. Until that file is replaced everything
is as it was, and from then on as it was meant; what a command that was killed left half made goes with the next one.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.discovery import Place
from aisops_runner.clock import Clock
from aisops_runner.environments import admission, registry
from aisops_runner.environments.building import Builder, Order, Progress, ask
from aisops_runner.environments.differences import Compare, Difference, breaking
from aisops_runner.environments.installers import Choice, find_installer
from aisops_runner.environments.layout import Layout
from aisops_runner.environments.locking import CommandLock
from aisops_runner.environments.names import is_environment_id, plugin_name
from aisops_runner.environments.shelf import Environment, Shelf
from aisops_runner.environments.wanted import same_version
from aisops_runner.errors import PluginRefused

SETTLE_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The house's rules: what a plugin that comes in must fit.

    Attributes:
        speaks: Majors of the sidecar contract that this Runner serves.
        bindings: Capability → plugin, from the configuration.
        offers: The capabilities of all other enabled plugins, by plugin; asked only when it is needed.
        reserved: Names that plugins may not have, because the Runner's own capabilities have them.
        beside: Packages that bring a plugin of this name beside the Runner, unless it is disabled there.
        compare: Finds what an upgrade breaks.
    """

    speaks: Sequence[int]
    bindings: Mapping[str, str] = field(default_factory=dict)
    offers: Callable[[], Mapping[str, Sequence[str]]] = dict
    reserved: frozenset[str] = frozenset()
    beside: Callable[[str], Sequence[str]] = lambda _: ()
    compare: Compare = breaking


@dataclass(frozen=True, slots=True)
class Change:
    """What a command did: the environment now in use, the one before, and what people accepted."""

    name: str
    now: Environment | None = None
    before: Environment | None = None
    manifest: Manifest | None = None
    accepted: tuple[Difference, ...] = ()


class Commands:
    """The commands, under the lock that keeps others out. A context manager.

    Args:
        layout: Where everything stands.
        house: What a plugin must fit.
        env: The caller's environment.
        clock: Time.
        describe_timeout_s: Seconds a plugin may take to describe itself.
        say: Told each step as it begins.
    """

    def __init__(
        self,
        layout: Layout,
        house: House,
        *,
        env: Mapping[str, str],
        clock: Clock,
        describe_timeout_s: float,
        say: Progress = lambda _: None,
    ) -> None:
        self._layout = layout
        self._house = house
        self._env = env
        self._clock = clock
        self._describe_timeout_s = describe_timeout_s
        self._say = say
        self._lock = CommandLock(layout)

    def __enter__(self) -> Self:
        self._lock.__enter__()
        try:
            self._sweep(registry.read(self._layout), old_too=False)
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    # --- changes ------------------------------------------------------------------------------------------------------

    def install(self, order: Order, *, installer: Choice = "auto") -> Change:
        """Build an environment for a plugin that has none, and use it.

        Raises:
            PluginRefused: It does not fit here, or is installed already.
            PluginBroken: It does not describe itself.
            InstallFailed: The installer did not do its work.
            OSError: The disk refused.
        """
        shelf = registry.read(self._layout)
        for held in shelf.holdings.values():
            if held.now.distribution == order.wanted.distribution:
                raise self._installed_already(held.now)

        def check(found: Environment, manifest: Manifest) -> None:
            if (held := shelf.holdings.get(found.name)) is not None:
                raise self._installed_already(held.now)
            self._check(found, manifest)

        built = self._builder(installer).build(order, check=check)
        self._use(shelf.put(built.environment))
        return Change(built.environment.name, built.environment, None, built.manifest)

    def upgrade(
        self, name: str, order: Order, *, accept: bool = False, rebuild: bool = False, installer: Choice = "auto"
    ) -> Change:
        """Build an environment for another version of an installed plugin, compare the two, and switch.

        Args:
            name: The plugin.
            order: The version that is wanted.
            accept: Switch also to a version that takes something away or asks for more.
            rebuild: Also when the version is the one in use, because its environment is damaged.
            installer: With what.

        Raises:
            PluginRefused: It is not installed, the new one does not fit here, or its changes were not accepted.
            PluginBroken: It does not describe itself.
            InstallFailed: The installer did not do its work.
            OSError: The disk refused.
        """
        shelf = registry.read(self._layout)
        held = shelf.holding(name)
        if order.wanted.distribution != held.now.distribution:
            text = (
                f"{name} is brought by {held.now.distribution}, not by {order.wanted.distribution}; uninstall it first"
            )
            raise PluginRefused(name, text, code="other_package")
        accepted: list[Difference] = []

        def check(found: Environment, manifest: Manifest) -> None:
            if found.name != name:
                text = f"{found.distribution} {found.version} brings the plugin {found.name} instead of {name}"
                raise PluginRefused(name, f"{text}; uninstall {name} and install {found.name}", code="name_mismatch")
            if same_version(found.version, held.now.version) and not rebuild:
                text = f"{name} is at {held.now.version}, the newest version that was found; --rebuild builds it again"
                raise PluginRefused(name, text, code="already_newest")
            self._check(found, manifest)
            old = registry.stored_manifest(self._layout, held.now.id)
            accepted[:] = self._house.compare(old, manifest) if old is not None else []
            admission.check_accepted(name, accepted, accepted=accept)

        built = self._builder(installer).build(order, check=check)
        self._use(shelf.put(built.environment))
        return Change(name, built.environment, held.now, built.manifest, tuple(accepted))

    def roll_back(self, name: str) -> Change:
        """Use the environment before again, after it has shown that it still describes itself.

        Raises:
            PluginRefused: It is not installed, or has no version before.
            PluginBroken: The one before does not work any more.
            OSError: The disk refused.
        """
        changed = registry.read(self._layout).back(name)
        held = changed.holding(name)
        self._say(f"asking {name} {held.now.version} what it offers")
        manifest = ask(registry.installed_of(held.now, self._layout), self._layout, self._env, self._describe_timeout_s)
        self._check(held.now, manifest)
        self._use(changed)
        return Change(name, held.now, held.before, manifest)

    def uninstall(self, name: str, *, purge: bool = False) -> Change:
        """Forget a plugin. No code of it is run, so that one that is broken can go, too.

        Args:
            name: The plugin.
            purge: Also delete what its sidecar wrote: logs, and its working folder.

        Raises:
            PluginRefused: It is not installed in an environment of its own.
            OSError: The disk refused.
        """
        shelf = registry.read(self._layout)
        held = shelf.holding(name)
        self._use(shelf.without(name))
        if purge:
            shutil.rmtree(self._layout.home / plugin_name(name), ignore_errors=True)
            for path in self._layout.logs.glob(f"{plugin_name(name)}.log*"):
                path.unlink(missing_ok=True)
        return Change(name, None, held.now)

    def switch(self, name: str, places: frozenset[Place], *, on: bool) -> Shelf:
        """Enable or disable a plugin in some places; kept until it is switched again.

        Raises:
            OSError: The disk refused.
        """
        shelf = registry.read(self._layout)
        changed = shelf.switched(name, on=places) if on else shelf.switched(name, off=places)
        self._use(changed)
        return changed

    # --- cleaning up --------------------------------------------------------------------------------------------------

    def tidy(self, *, wait_s: float = 0.0) -> list[str]:
        """Delete environments that nothing names any more; only once no running Runner holds them for those in use.

        Args:
            wait_s: Seconds to wait for sidecars that are ending; what is still in use then goes with the next command.

        Returns:
            The ids that were deleted.
        """
        shelf = registry.read(self._layout)
        until = time.monotonic() + wait_s
        gone = self._sweep(shelf, old_too=True)
        while shelf.unneeded(self._found(), old_too=True) and time.monotonic() < until:
            time.sleep(SETTLE_EVERY_S)
            gone += self._sweep(shelf, old_too=True)
        return gone

    def _sweep(self, shelf: Shelf, *, old_too: bool) -> list[str]:
        running = {path.stem for path in self._layout.run.glob("*.json")}
        unneeded = shelf.unneeded(self._found(), in_use=running, old_too=old_too)
        for identity in unneeded:
            with contextlib.suppress(OSError):
                self._layout.facts(identity).unlink(missing_ok=True)  # first: what is being deleted is not whole
            shutil.rmtree(self._layout.environment(identity), ignore_errors=True)
        shutil.rmtree(self._layout.building, ignore_errors=True)
        for draft in self._layout.plugins.glob(f".{self._layout.registry.stem}-*"):
            draft.unlink(missing_ok=True)
        return unneeded

    def _found(self) -> dict[str, bool]:
        names = [name for name in registry.folders(self._layout) if is_environment_id(name)]
        return {name: self._layout.facts(name).exists() for name in names}

    # --- parts --------------------------------------------------------------------------------------------------------

    def _builder(self, installer: Choice) -> Builder:
        return Builder(
            self._layout,
            find_installer(installer, self._env),
            env=self._env,
            clock=self._clock,
            held=self._lock.fd,
            describe_timeout_s=self._describe_timeout_s,
            say=self._say,
        )

    def _check(self, found: Environment, manifest: Manifest) -> None:
        """The house's rules; a plugin that is disabled may wait with its claims until it is enabled."""
        if found.name in self._house.reserved:
            raise PluginRefused(
                found.name, f"{found.name} is the name of a part of the Runner itself", code="invalid_name"
            )
        admission.check_version(manifest, found.distribution, found.version)
        admission.check_contract(manifest, self._house.speaks)
        if others := self._house.beside(found.name):
            raise PluginRefused(
                found.name,
                f"{found.name} is installed beside the Runner too, by {' and '.join(others)}; uninstall it there, or "
                f"disable it there first: aisops-runner plugin disable {found.name} --beside",
                code="installed_beside",
            )
        offered = [spec.name for spec in manifest.capabilities]
        admission.check_claims(found.name, self._house.offers(), offered, self._house.bindings)

    def _use(self, shelf: Shelf) -> None:
        registry.write(self._layout, shelf)

    def _installed_already(self, now: Environment) -> PluginRefused:
        text = f"{now.name} {now.version} is installed already; change it with: aisops-runner plugin upgrade {now.name}"
        return PluginRefused(now.name, text, code="already_installed")
