"""The plugin host: one pluggy PluginManager in which every adapter and every customer hook is registered.

The host promises its caller that `invoke` ends in an `Outcome` whatever an adapter or a hook does, and that a call
reaches only the adapter that owns its capability.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from typing import Any

import pluggy
import structlog

from aisops_protocol.messages import Capability
from aisops_runner.adapters.calls import Call, CallError, Outcome, refused
from aisops_runner.adapters.catalog import Catalog, Conflict, build_catalog
from aisops_runner.adapters.hookspecs import PROJECT, RunnerHooks
from aisops_runner.errors import ConfigInvalid

HOOKS_GROUP = "aisops.runner.hooks"
REDACTION_FAILED = "[withheld: a redaction hook failed]"

_log = structlog.get_logger("aisops_runner.host")


@dataclass(slots=True)
class HookTiming:
    """How one hook has behaved so far; durations in seconds."""

    calls: int = 0
    failures: int = 0
    total_s: float = 0.0
    slowest_s: float = 0.0


class _Guard:
    """Times one hook call, and logs and swallows whatever it raises; cancellation and Ctrl-C pass."""

    def __init__(self, hook: str, name: str, timing: HookTiming, monotonic: Callable[[], float]) -> None:
        self._hook, self._name, self._timing, self._monotonic = hook, name, timing, monotonic
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = self._monotonic()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        spent = self._monotonic() - self._started
        self._timing.calls += 1
        self._timing.total_s += spent
        self._timing.slowest_s = max(self._timing.slowest_s, spent)
        if not isinstance(error, (Exception, SystemExit)):
            return False
        self._timing.failures += 1
        _log.error("hook failed", hook=self._hook, plugin=self._name, exc_info=error)
        return True


class PluginHost:
    """Everything the Runner can do, behind one `invoke`.

    Args:
        bindings: Capability → plugin name, for capabilities that several plugins claim.
        monotonic: Source of seconds for timings.
    """

    def __init__(
        self, bindings: Mapping[str, str] | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._plugins = pluggy.PluginManager(PROJECT)
        self._plugins.add_hookspecs(RunnerHooks)
        self._bindings = dict(bindings or {})
        self._monotonic = monotonic
        self._offers: dict[str, list[Capability]] = {}
        self._hooked = False
        self._catalog: Catalog | None = None
        self._invokers: dict[str, pluggy.HookCaller] = {}
        self._timings: dict[str, HookTiming] = {}

    # --- registration -------------------------------------------------------------------------------------------------

    def register(self, adapter: object, *, name: str) -> None:
        """Add an adapter under its plugin's name and take up what it offers.

        Raises:
            ValueError: The name is taken.
        """
        self._plugins.register(adapter, name=name)
        self._offers[name] = []
        self.refresh(name)

    def unregister(self, name: str) -> None:
        """Forget an adapter; calls of its capabilities are refused from now on."""
        self._plugins.unregister(name=name)
        del self._offers[name]
        self._forget()

    def refresh(self, name: str) -> None:
        """Ask one adapter again what it offers; one that fails to say offers nothing."""
        self._offers[name] = []
        for implementation in self._plugins.hook.aisops_capabilities.get_hookimpls():
            if implementation.plugin_name == name:
                with self._guarded("aisops_capabilities", name):
                    self._offers[name] = list(_call(implementation))
        self._forget()

    def _forget(self) -> None:
        self._catalog = None
        self._invokers.clear()

    def register_hooks(self, hooks: object, *, name: str) -> None:
        """Add a customer's hook implementations."""
        self._plugins.register(hooks, name=f"hooks:{name}")
        self._hooked = True
        self._invokers.clear()

    def load_hooks(self, allowed: Sequence[str], installed: Sequence[EntryPoint]) -> None:
        """Import and register exactly the customer hooks the configuration names.

        Args:
            allowed: Entry-point names; nothing else is imported.
            installed: Entry points of group `aisops.runner.hooks`.

        Raises:
            ConfigInvalid: A named hook is not installed or does not import. The Runner does not start without a hook
                it was told to use, because the hook may be a guard.
        """
        by_name = {point.name: point for point in installed}
        for name in allowed:
            point = by_name.get(name)
            if point is None:
                raise ConfigInvalid(f"no installed package offers the hook {name!r} in {HOOKS_GROUP}", key="hooks")
            try:
                self.register_hooks(point.load(), name=name)
            except (Exception, SystemExit) as error:
                raise ConfigInvalid(f"hook {name!r} does not import: {error!r}", key="hooks") from error

    def _only(self, hook: str, name: str) -> pluggy.HookCaller:
        others = [found for found in self._plugins.get_plugins() if self._plugins.get_name(found) != name]
        return self._plugins.subset_hook_caller(hook, remove_plugins=others)

    # --- questions ----------------------------------------------------------------------------------------------------

    def capabilities(self) -> tuple[Capability, ...]:
        """What this Runner offers, sorted by name; capabilities in conflict are left out."""
        served = self._current().served
        return tuple(served[name] for name in sorted(served))

    def capability(self, name: str) -> Capability | None:
        """One capability on offer, or None."""
        return self._current().served.get(name)

    def conflicts(self) -> tuple[Conflict, ...]:
        """Capabilities refused because several plugins claim them."""
        return self._current().conflicts

    def timings(self) -> dict[str, HookTiming]:
        """Per `hook/plugin`: calls, failures and seconds spent."""
        return {key: replace(timing) for key, timing in self._timings.items()}

    # --- work ---------------------------------------------------------------------------------------------------------

    async def invoke(self, call: Call) -> Outcome:
        """Run one call through the adapter that owns its capability.

        Returns:
            What came of it. Codes made here: `unknown_capability`, `hook_failed` (a guard hook raised; nothing left)
            and `adapter_failed` (the adapter raised; whether something left is unknown, so it is ambiguous).

        Raises:
            asyncio.CancelledError: The caller cancelled; nothing else is ever raised.
        """
        catalog = self._current()
        owner = catalog.owner(call.capability)
        if owner is None:
            return refused("unknown_capability", catalog.explain_unknown(call.capability))
        started = self._monotonic()
        forbidden = self._before(call) if self._hooked else None
        outcome = Outcome(ok=False, error=forbidden) if forbidden else await self._invoke(owner, call)
        if self._hooked:
            spent = self._monotonic() - started
            for hook in self._plugins.hook.after_invoke.get_hookimpls():
                with self._guarded("after_invoke", hook.plugin_name):
                    _call(hook, call=call, outcome=outcome, duration_s=spent)
        return outcome

    def ready(self, capability: str) -> bool:
        """Whether a call of this capability would leave at once; True also when nobody says otherwise."""
        answer: object = None
        with self._guarded("aisops_ready", capability):
            answer = self._plugins.hook.aisops_ready(capability=capability)
        return answer is not False

    async def prepare(self, capability: str) -> None:
        """Have the owner of this capability get ready; a failure shows when the call is made."""
        with self._guarded("aisops_prepare", capability):
            getting_ready: Awaitable[None] | None = self._plugins.hook.aisops_prepare(capability=capability)
            if getting_ready is not None:
                await getting_ready

    def cancel(self, job_id: str) -> None:
        """Ask whoever runs the job to stop; returns at once."""
        for implementation in self._plugins.hook.aisops_cancel.get_hookimpls():
            with self._guarded("aisops_cancel", implementation.plugin_name):
                _call(implementation, job_id=job_id)

    def redact(self, text: str) -> str:
        """Pass a text through every customer redaction hook; a failing hook withholds the text."""
        if not self._hooked:
            return text
        for hook in self._plugins.hook.redact.get_hookimpls():
            clean: object = None
            with self._guarded("redact", hook.plugin_name):
                clean = _call(hook, text=text)
            if not isinstance(clean, str):
                return REDACTION_FAILED
            text = clean
        return text

    def _before(self, call: Call) -> CallError | None:
        verdict: object = CallError("hook_failed", "a before_invoke hook failed; the call was not made", retryable=True)
        with self._guarded("before_invoke", "hooks"):
            verdict = self._plugins.hook.before_invoke(call=call)
        if verdict is None or isinstance(verdict, CallError):
            return verdict
        return CallError("hook_failed", "a before_invoke hook answered neither None nor a CallError")

    async def _invoke(self, owner: str, call: Call) -> Outcome:
        caller = self._invokers.get(owner)
        if caller is None:
            caller = self._invokers[owner] = self._only("aisops_invoke", owner)
        outcome: Outcome | None = None
        with self._guarded("aisops_invoke", owner):
            answer: Awaitable[Outcome] | None = caller(call=call)
            if answer is None:
                return refused("unknown_capability", f"{owner} no longer offers {call.capability}")
            outcome = await answer
        if outcome is None:
            error = CallError("adapter_failed", f"the adapter {owner} failed inside the Runner", ambiguous=True)
            return Outcome(ok=False, error=error, plugin=owner)
        return outcome

    def _current(self) -> Catalog:
        if self._catalog is None:
            self._catalog = build_catalog(self._offers, self._bindings)
        return self._catalog

    def _guarded(self, hook: str, name: str) -> _Guard:
        timing = self._timings.setdefault(f"{hook}/{name}", HookTiming())
        return _Guard(hook, name, timing, self._monotonic)


def _call(implementation: pluggy.HookImpl, **arguments: object) -> Any:
    """Call one implementation with the arguments it takes, as pluggy would, so that its failure is its own."""
    return implementation.function(*(arguments[name] for name in implementation.argnames))
