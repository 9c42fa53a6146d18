"""What Core knows of one Runner, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from aisops_protocol.messages import EffectClass, QueueStats
from aisops_protocol.skew import ClockLevel


@dataclass(frozen=True, slots=True)
class CapabilityRecord:
    """One capability a Runner reported in its last Hello.

    `schema_error` is set when the input schema could not be used for checking at Core; the sidecar still checks.
    """

    name: str
    plugin: str
    plugin_version: str
    effect_class: EffectClass
    timeout_ms: int
    description: str
    input_schema: bytes
    schema_digest: bytes
    schema_error: str = ""
    runner_id: str = ""
    reported_unix_ms: int = 0


@dataclass(frozen=True, slots=True)
class RunnerEvent:
    """Something a Runner told of itself, or Core noticed about its messages; `data` is JSON text, `{}` at least."""

    at_unix_ms: int
    kind: str
    data: str


@dataclass(frozen=True, slots=True)
class RunnerRecord:
    """One Runner. `connected` and `last_seen_unix_ms` are as the database knows them (renewed by heartbeats).

    `clock_skew_ms` is its clock less Core's as it was last measured; None: never. `clone_refused_unix_ms` is when the
    newest of its events tells that a second machine was refused; None: none ever did.
    """

    tenant_id: str
    runner_id: str
    labels: dict[str, str]
    created_unix_ms: int
    session_epoch: int = 0
    connected: bool = False
    last_seen_unix_ms: int = 0
    agent_version: str = ""
    os: str = ""
    arch: str = ""
    job_slots: int = 0
    free_slots: int = 0
    draining: bool = False
    queue_stats: QueueStats = field(default_factory=QueueStats)
    clock_skew_ms: int | None = None
    clock_level: ClockLevel = ClockLevel.OK
    clone_refused_unix_ms: int | None = None
    capabilities: tuple[CapabilityRecord, ...] = ()
