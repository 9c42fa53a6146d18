"""A plugin as the host sees it: pluggy hook implementations that reach the plugin's sidecar."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Sequence

from aisops_plugin_sdk.manifest import CapabilitySpec, Manifest
from aisops_protocol.messages import Capability, EffectClass
from aisops_runner.adapters.calls import Call, Ended, Outcome
from aisops_runner.adapters.hookspecs import hookimpl
from aisops_runner.sidecars.supervisor import Supervisor

_EFFECTS = {"idempotent": EffectClass.IDEMPOTENT, "at_most_once": EffectClass.AT_MOST_ONCE}


class SidecarProxy:
    """Stands for one plugin in the PluginManager; no code of the plugin runs here.

    New calls go to the supervisor that serves now. Those that served before it are still told of jobs that are
    cancelled or cut off, until they have finished what they had.

    Args:
        manifest: What the plugin offers.
        supervisor: Keeps its sidecar.
    """

    def __init__(self, manifest: Manifest, supervisor: Supervisor) -> None:
        self._leaving: list[Supervisor] = []
        self._supervisor: Supervisor | None = supervisor
        self._capabilities = capabilities_of(manifest)
        self._names = frozenset(spec.name for spec in manifest.capabilities)

    def succeed(self, manifest: Manifest, supervisor: Supervisor) -> None:
        """From now on another one serves, with its own capabilities."""
        self.relieve()
        self._supervisor = supervisor
        self._capabilities = capabilities_of(manifest)
        self._names = frozenset(spec.name for spec in manifest.capabilities)

    def relieve(self) -> None:
        """From now on nobody serves."""
        if self._supervisor is not None:
            self._leaving.append(self._supervisor)
        self._supervisor = None
        self._capabilities = []
        self._names = frozenset()

    def gone(self, supervisor: Supervisor) -> bool:
        """One that had served has finished; whether nobody is left at all."""
        if supervisor in self._leaving:
            self._leaving.remove(supervisor)
        return self._supervisor is None and not self._leaving

    @hookimpl
    def aisops_capabilities(self) -> list[Capability]:
        """What the manifest lists."""
        return self._capabilities

    @hookimpl
    def aisops_invoke(self, call: Call) -> Awaitable[Outcome] | None:
        """Call the sidecar; None for a capability that is not the plugin's."""
        supervisor = self._serving(call.capability)
        return supervisor.call(call) if supervisor is not None else None

    @hookimpl
    def aisops_begin(self, calls: Sequence[Call], ended: Ended) -> bool | None:
        """Call the sidecar; None for capabilities that are not the plugin's."""
        if self._supervisor is None or any(call.capability not in self._names for call in calls):
            return None
        self._supervisor.begin(calls, ended)
        return True

    @hookimpl
    def aisops_cut_off(self, job_id: str) -> None:
        """Wait no longer for calls of this job."""
        for supervisor in self._all():
            supervisor.cut_off(job_id)

    @hookimpl
    def aisops_ready(self, capability: str) -> bool | None:
        """Whether the sidecar runs; None for a capability that is not the plugin's."""
        supervisor = self._serving(capability)
        return supervisor.ready if supervisor is not None else None

    @hookimpl
    def aisops_prepare(self, capability: str) -> Awaitable[None] | None:
        """Start the sidecar when it does not run; None for a capability that is not the plugin's."""
        supervisor = self._serving(capability)
        return supervisor.start() if supervisor is not None else None

    @hookimpl
    def aisops_cancel(self, job_id: str) -> None:
        """Pass the wish on to the sidecar, when it runs a call of this job."""
        for supervisor in self._all():
            supervisor.cancel(job_id)

    def _serving(self, capability: str) -> Supervisor | None:
        return self._supervisor if capability in self._names else None

    def _all(self) -> list[Supervisor]:
        return [*self._leaving, *([self._supervisor] if self._supervisor is not None else [])]


def capabilities_of(manifest: Manifest) -> list[Capability]:
    """What a manifest offers, in the words of the wire."""
    return [_capability(manifest, spec) for spec in manifest.capabilities]


def _capability(manifest: Manifest, spec: CapabilitySpec) -> Capability:
    return Capability(
        name=spec.name,
        plugin=manifest.name,
        plugin_version=manifest.version,
        effect_class=_EFFECTS.get(spec.effect_class, EffectClass.AT_MOST_ONCE),
        timeout_ms=round(spec.timeout_s * 1000),
        input_schema=json.dumps(spec.input_schema, separators=(",", ":"), ensure_ascii=False).encode(),
        description=spec.description,
    )
