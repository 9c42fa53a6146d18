"""How plugins are kept, as plain values: what the operator may set, and what a supervisor goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aisops_plugin_sdk.egress import OPERATOR_ENV
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.migrations import VERSION_ENV
from aisops_plugin_sdk.webhooks import LISTEN_ENV
from aisops_protocol.limits import JOB_SLOTS
from aisops_runner.sidecars.restart import RestartPolicy


class PluginSettings(Protocol):
    """What the operator sets for one plugin; `config.PluginConfig` is one. Durations in seconds."""

    @property
    def enabled(self) -> bool:
        """False: listed, never started."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """Variable → text, `env:NAME` or `file:/path`."""
        ...

    @property
    def max_concurrency(self) -> int | None:
        """Calls at once; only ever lowers the manifest's number."""
        ...

    @property
    def prewarm(self) -> bool:
        """Start with the Runner and stay."""
        ...

    @property
    def idle_stop_s(self) -> float:
        """Stop after so long without a call."""
        ...

    @property
    def batch(self) -> bool:
        """False: one request per call, also where the plugin takes batches."""
        ...

    @property
    def egress(self) -> Sequence[str]:
        """Places its requests may go to besides those of its own list."""
        ...

    @property
    def config_version(self) -> str:
        """Which version of the plugin's configuration `env` is written for; empty: its variables show it."""
        ...

    @property
    def inbound(self) -> str:
        """`host:port` where its provider reaches its webhooks; empty: nowhere."""
        ...


@dataclass(frozen=True, slots=True)
class DefaultSettings:
    """Settings of a plugin the operator says nothing about."""

    enabled: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    max_concurrency: int | None = None
    prewarm: bool = False
    idle_stop_s: float = 60.0
    batch: bool = True
    egress: Sequence[str] = ()
    config_version: str = ""
    inbound: str = ""


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """How one sidecar is kept; durations in seconds.

    Attributes:
        max_concurrency: Calls at once.
        queue_limit: Calls that may wait for a slot; more are refused as `plugin_busy`. As many as a Runner may have
            jobs: it has taken them and would only have to ask again, and so use up a job's calls.
        prewarm: Start at once and stay, instead of on demand.
        idle_stop_s: Stop after so long without a call (not when `prewarm`).
        liveness_s: Between health checks.
        liveness_misses: Failed checks in a row after which it is restarted.
        degraded_poll_s: First wait before a degraded sidecar is asked again whether it is ready.
        batch: Whether calls that come together go together, where the plugin takes batches.
        drain_s: How long an orderly stop may take to finish calls.
        restart: When it is tried again.
    """

    max_concurrency: int = 4
    queue_limit: int = JOB_SLOTS
    prewarm: bool = False
    idle_stop_s: float = 60.0
    liveness_s: float = 30.0
    liveness_misses: int = 3
    degraded_poll_s: float = 0.25
    batch: bool = True
    drain_s: float = 30.0
    restart: RestartPolicy = field(default_factory=RestartPolicy)


def supervisor_settings(manifest: Manifest, settings: PluginSettings) -> SupervisorSettings:
    """Join what the plugin declares and what the operator set."""
    return SupervisorSettings(
        max_concurrency=min(manifest.max_concurrency, settings.max_concurrency or manifest.max_concurrency),
        prewarm=settings.prewarm or bool(settings.inbound),  # a provider does not come only when there is a job
        idle_stop_s=settings.idle_stop_s,
        batch=settings.batch,
    )


def told(settings: PluginSettings) -> dict[str, str]:
    """The variables of the contract by which the SDK hears what the operator set."""
    given = {
        OPERATOR_ENV: ",".join(settings.egress),
        VERSION_ENV: settings.config_version,
        LISTEN_ENV: settings.inbound,
    }
    return {name: value for name, value in given.items() if value}
