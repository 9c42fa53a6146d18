"""The Hello of a new stream, put together from what is fixed, what the outbox says and what the journal holds."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aisops_protocol.limits import FEATURE_SESSION_EPOCH, FRAME_BYTES, PROTOCOL_MAX, PROTOCOL_MIN
from aisops_protocol.messages import Capability, Hello
from aisops_runner.jobs.stages import Holding
from aisops_runner.outbox.greeting import Inventory

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a Runner says of itself for as long as its process lives.

    Attributes:
        tenant_id: Its tenant.
        runner_id: Its name.
        version: Of the Runner.
        labels: Matched against a job's labels by Core.
        job_slots: Jobs run at once.
        instance_id: 16 random octets for this process: tells a reconnect from a clone.
        boot_id: Of the machine; empty when unknown.
    """

    tenant_id: str
    runner_id: str
    version: str
    labels: tuple[tuple[str, str], ...] = ()
    job_slots: int = 16
    instance_id: bytes = field(default_factory=lambda: os.urandom(16))
    boot_id: str = field(default_factory=lambda: read_boot_id())


def read_boot_id() -> str:
    """The machine's boot id; empty where there is none."""
    try:
        return _BOOT_ID.read_text("ascii").strip()[:64]
    except (OSError, UnicodeDecodeError):
        return ""


def build_hello(
    profile: Profile,
    lane: Inventory,
    holding: Holding,
    capabilities: Sequence[Capability],
    unix_ms: int,
) -> Hello:
    """The first message of a stream.

    Args:
        profile: What is fixed.
        lane: What the outbox holds.
        holding: What the journal holds.
        capabilities: On offer now.
        unix_ms: Wall clock in milliseconds.
    """
    return Hello(
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
        instance_id=profile.instance_id,
        boot_id=profile.boot_id,
        agent_version=profile.version,
        os=platform.system(),
        arch=platform.machine(),
        clock_unix_ms=unix_ms,
        queue_epoch=lane.queue_epoch,
        epoch_start_seq=lane.epoch_start_seq,
        next_seq=lane.next_seq,
        oldest_unacked_seq=lane.oldest_unacked_seq,
        journal_id=lane.journal_id,
        previous_epochs=lane.previous_epochs,
        last_core_epoch=lane.last_core_epoch,
        labels=profile.labels,
        capabilities=tuple(capabilities),
        feature_bits=FEATURE_SESSION_EPOCH,
        max_message_bytes=FRAME_BYTES,
        job_slots=profile.job_slots,
        held_jobs=holding.jobs,
        queue_stats=lane.stats,
        held_jobs_omitted=holding.omitted,
        last_session_epoch=lane.last_session_epoch,
    )
