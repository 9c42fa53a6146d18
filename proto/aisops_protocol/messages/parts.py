"""What several messages are made of."""

from __future__ import annotations

from aisops_protocol.messages.vocabulary import EffectClass, JobPhase, Verdict
from aisops_protocol.records import record


@record
class Capability:
    """One capability a Runner offers, with what Core needs to validate, match and explain."""

    name: str
    plugin: str
    plugin_version: str
    effect_class: EffectClass = EffectClass.AT_MOST_ONCE
    timeout_ms: int = 30_000
    input_schema: bytes = b"{}"
    description: str = ""


@record
class HeldJob:
    """A job in the Runner's journal that Core has not acknowledged as finished."""

    job_id: str
    lease_id: bytes
    attempt: int
    phase: JobPhase


@record
class EpochStart:
    """A queue epoch (16 random octets, one per opening of the outbox) and the first sequence number under it.

    Lists of them are oldest first.
    """

    epoch: bytes
    start_seq: int


@record
class QueueStats:
    """Depth of the Runner's outbox."""

    messages: int = 0
    bytes: int = 0
    dropped: int = 0
    quarantined: int = 0


@record
class JobVerdict:
    """Core's ruling on one `HeldJob`."""

    job_id: str
    verdict: Verdict


@record
class JobError:
    """Why a job did not succeed. `details` is a JSON array of {path, message}; never holds a secret."""

    code: str
    message: str
    retryable: bool = False
    ambiguous: bool = False
    retry_after_ms: int = 0
    details: bytes = b""


@record
class ExecutionInfo:
    """Who did the work, for people: plugin, its version, its sidecar's process id (0: built in), calls made."""

    plugin: str = ""
    plugin_version: str = ""
    sidecar_pid: int = 0
    calls: int = 0
    started_unix_ms: int = 0
    duration_ms: int = 0
