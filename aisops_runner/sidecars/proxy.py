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

    Args:
        manifest: What the plugin offers.
        supervisor: Keeps its sidecar.
    """

    def __init__(self, manifest: Manifest, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._capabilities = capabilities_of(manifest)
        self._names = frozenset(spec.name for spec in manifest.capabilities)

    @hookimpl
    def aisops_capabilities(self) -> list[Capability]:
        """What the manifest lists."""
        return self._capabilities

    @hookimpl
    def aisops_invoke(self, call: Call) -> Awaitable[Outcome] | None:
        """Call the sidecar; None for a capability that is not the plugin's."""
        return self._supervisor.call(call) if call.capability in self._names else None

    @hookimpl
    def aisops_begin(self, calls: Sequence[Call], ended: Ended) -> bool | None:
        """Call the sidecar; None for capabilities that are not the plugin's."""
        if any(call.capability not in self._names for call in calls):
            return None
        self._supervisor.begin(calls, ended)
        return True

    @hookimpl
    def aisops_cut_off(self, job_id: str) -> None:
        """Wait no longer for calls of this job."""
        self._supervisor.cut_off(job_id)

    @hookimpl
    def aisops_ready(self, capability: str) -> bool | None:
        """Whether the sidecar runs; None for a capability that is not the plugin's."""
        return self._supervisor.ready if capability in self._names else None

    @hookimpl
    def aisops_prepare(self, capability: str) -> Awaitable[None] | None:
        """Start the sidecar when it does not run; None for a capability that is not the plugin's."""
        return self._supervisor.start() if capability in self._names else None

    @hookimpl
    def aisops_cancel(self, job_id: str) -> None:
        """Pass the wish on to the sidecar, when it runs a call of this job."""
        self._supervisor.cancel(job_id)


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
