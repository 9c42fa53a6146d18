"""How plugins are kept, as plain values: what the operator may set, and what a supervisor goes by."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from aisops_plugin_sdk.manifest import Manifest
from aisops_protocol.limits import JOB_SLOTS
from aisops_runner.adapters.kinds import Foreign, Kind
from aisops_runner.sidecars.restart import RestartPolicy

IDLE_STOP_S: Final = 60.0
ELSEWHERE_CAP_S: Final = 60.0
"""The longest pause before a plugin that runs elsewhere is asked again."""


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
    def idle_stop_s(self) -> float | None:
        """Stop after so long without a call; None: as the plugin wishes, else 60."""
        ...

    @property
    def batch(self) -> bool:
        """False: one request per call, also where the plugin takes batches."""
        ...


@dataclass(frozen=True, slots=True)
class DefaultSettings:
    """Settings of a plugin the operator says nothing about."""

    enabled: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    max_concurrency: int | None = None
    prewarm: bool = False
    idle_stop_s: float | None = None
    batch: bool = True


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


def supervisor_settings(
    manifest: Manifest, settings: PluginSettings, foreign: Foreign | None = None
) -> SupervisorSettings:
    """Join what the plugin declares and what the operator set.

    One that runs elsewhere is asked at once and for ever: there is nothing to stop when it is idle, and nothing gained
    by setting it aside.
    """
    elsewhere = foreign is not None and foreign.kind is Kind.URL
    restart = RestartPolicy()
    if elsewhere:
        restart = RestartPolicy(cap_s=ELSEWHERE_CAP_S, failures=sys.maxsize)
    elif foreign is not None and not foreign.restarts:
        restart = RestartPolicy(failures=1)
    wished_s = foreign.idle_stop_s if foreign is not None else IDLE_STOP_S
    return SupervisorSettings(
        max_concurrency=min(manifest.max_concurrency, settings.max_concurrency or manifest.max_concurrency),
        prewarm=settings.prewarm or elsewhere,
        idle_stop_s=wished_s if settings.idle_stop_s is None else settings.idle_stop_s,
        batch=settings.batch,
        restart=restart,
    )
