"""The plugin host: one pluggy PluginManager in which every adapter and every customer hook is registered.

The host promises its caller that `invoke` ends in an `Outcome` whatever an adapter or a hook does, and that a call
reaches only the adapter that owns its capability.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from aisops_protocol.messages import Capability
from aisops_runner.adapters.calls import Call, CallError, Ended, Outcome, refused
from aisops_runner.adapters.catalog import Catalog, Conflict, build_catalog
from aisops_runner.adapters.guard import Guard, HookTiming
from aisops_runner.adapters.hookspecs import PROJECT, RunnerHooks
from aisops_runner.adapters.tasks import CallTasks
from aisops_runner.errors import ConfigInvalid

HOOKS_GROUP = "aisops.runner.hooks"
REDACTION_FAILED = "[withheld: a redaction hook failed]"


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
        self._invokers: dict[tuple[str, str], pluggy.HookCaller] = {}
        self._tasks = CallTasks(self._invoke)
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
        """Run one call and wait for its end; as `begin` otherwise.

        Raises:
            asyncio.CancelledError: The caller cancelled; nothing else is ever raised.
        """
        waiter: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self.begin((call,), partial(_resolve, waiter))
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            self.cut_off(call.job_id)
            raise
        if outcome is None:
            raise asyncio.CancelledError
        return outcome

    def begin(self, calls: Sequence[Call], ended: Ended) -> None:
        """Run calls through the adapters that own their capabilities; returns at once.

        Args:
            calls: What to run; those of one adapter go to it together.
            ended: Told what came of them as they end, later, many at a time. Codes made here: `unknown_capability`,
                `hook_failed` (a guard hook raised; nothing left) and `adapter_failed` (the adapter raised; whether
                something left is unknown, so it is ambiguous).
        """
        catalog = self._current()
        if self._hooked:
            ended = self._observed(calls, ended)
        refusals: list[tuple[str, Outcome | None]] = []
        by_owner: dict[str, list[Call]] = {}
        for call in calls:
            owner = catalog.owner(call.capability)
            forbidden = self._before(call) if self._hooked and owner is not None else None
            if owner is None:
                refusals.append((call.job_id, refused("unknown_capability", catalog.explain_unknown(call.capability))))
            elif forbidden is not None:
                refusals.append((call.job_id, Outcome(ok=False, error=forbidden)))
            else:
                by_owner.setdefault(owner, []).append(call)
        for owner, its in by_owner.items():
            self._begin(owner, its, ended)
        if refusals:
            asyncio.get_running_loop().call_soon(ended, refusals)

    def cut_off(self, job_id: str) -> None:
        """Wait no longer for this job's calls; each is told as None, soon."""
        self._tasks.cut_off(job_id)
        for implementation in self._plugins.hook.aisops_cut_off.get_hookimpls():
            with self._guarded("aisops_cut_off", implementation.plugin_name):
                _call(implementation, job_id=job_id)

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

    def _observed(self, calls: Sequence[Call], ended: Ended) -> Ended:
        """Tell the `after_invoke` hooks of every call before whoever waits for it."""
        started = self._monotonic()
        waiting = {call.job_id: call for call in calls}

        def observed(outcomes: Sequence[tuple[str, Outcome | None]]) -> None:
            spent = self._monotonic() - started
            for job_id, outcome in outcomes:
                call = waiting.get(job_id)
                if call is None or outcome is None:
                    continue
                for hook in self._plugins.hook.after_invoke.get_hookimpls():
                    with self._guarded("after_invoke", hook.plugin_name):
                        _call(hook, call=call, outcome=outcome, duration_s=spent)
            ended(outcomes)

        return observed

    def _begin(self, owner: str, calls: Sequence[Call], ended: Ended) -> None:
        with self._guarded("aisops_begin", owner):
            if self._caller("aisops_begin", owner)(calls=calls, ended=ended) is not True:
                for call in calls:
                    self._tasks.begin(call, ended)
            return
        # Some may have left before it failed: none of them is made a second time.
        failed = _adapter_failed(owner)
        asyncio.get_running_loop().call_soon(ended, [(call.job_id, failed) for call in calls])

    async def _invoke(self, call: Call) -> Outcome:
        owner = self._current().owner(call.capability) or ""
        outcome: Outcome | None = None
        with self._guarded("aisops_invoke", owner):
            answer: Awaitable[Outcome] | None = self._caller("aisops_invoke", owner)(call=call)
            if answer is None:
                return refused("unknown_capability", f"{owner} no longer offers {call.capability}")
            outcome = await answer
        return outcome or _adapter_failed(owner)

    def _caller(self, hook: str, owner: str) -> pluggy.HookCaller:
        caller = self._invokers.get((hook, owner))
        if caller is None:
            caller = self._invokers[hook, owner] = self._only(hook, owner)
        return caller

    def _current(self) -> Catalog:
        if self._catalog is None:
            self._catalog = build_catalog(self._offers, self._bindings)
        return self._catalog

    def _guarded(self, hook: str, name: str) -> Guard:
        timing = self._timings.setdefault(f"{hook}/{name}", HookTiming())
        return Guard(hook, name, timing, self._monotonic)


def _adapter_failed(owner: str) -> Outcome:
    error = CallError("adapter_failed", f"the adapter {owner} failed inside the Runner", ambiguous=True)
    return Outcome(ok=False, error=error, plugin=owner)


def _call(implementation: pluggy.HookImpl, **arguments: object) -> Any:
    """Call one implementation with the arguments it takes, as pluggy would, so that its failure is its own."""
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _resolve(waiter: asyncio.Future[Outcome | None], ended: Sequence[tuple[str, Outcome | None]]) -> None:
    if not waiter.done():
        waiter.set_result(ended[0][1])
