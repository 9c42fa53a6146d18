"""One whole example of every message: no field is left at its empty value. Golden octets are made from these.

`python -m tests.unit.protocol.examples` adds golden octets for new examples. It never rewrites old ones: if one of
those would change, the contract has changed, and that is what the golden test is for.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

from aisops_protocol import messages as m

LEASE, EPOCH, OLDER, OLDEST = (bytes([n]) * 16 for n in (1, 2, 3, 4))
INSTANCE, JOURNAL, SESSION, CORE, MESSAGE = (bytes([n]) * 16 for n in (5, 6, 7, 8, 9))
HASH = bytes(range(32))
CLOCK = 1_800_000_000_000
GOLDEN = Path(__file__).with_name("golden_v1.json")

CAPABILITY = m.Capability(
    "slack.send", "aisops-plugin-slack", "0.1.0", m.EffectClass.IDEMPOTENT, 20_000, b"{}", "보내기"
)
HELD = m.HeldJob("job-1", LEASE, 2, m.JobPhase.STARTED)
STATS = m.QueueStats(messages=3, bytes=900, dropped=1, quarantined=2)
ERROR = m.JobError("rate_limited", "try later", True, True, 1500, b'[{"path":"/x","message":"y"}]')
EXECUTION = m.ExecutionInfo("aisops-plugin-slack", "0.1.0", 4711, 2, CLOCK, 350)
ACK = m.Ack(EPOCH, 41, 128, 524_288)
OFFER = m.CredentialOffer("offer-1", "runner_token", b"new", 3)
VERDICT = m.JobVerdict("job-1", m.Verdict.KEEP)

HELLO = m.Hello(
    protocol_min=1,
    protocol_max=2,
    instance_id=INSTANCE,
    boot_id="boot",
    agent_version="0.1.0",
    os="linux",
    arch="x86_64",
    clock_unix_ms=CLOCK,
    queue_epoch=EPOCH,
    epoch_start_seq=40,
    next_seq=50,
    oldest_unacked_seq=42,
    journal_id=JOURNAL,
    previous_epochs=(m.EpochStart(OLDEST, 1), m.EpochStart(OLDER, 20)),
    last_core_epoch=CORE,
    credential_generation=2,
    cert_fingerprint=HASH,
    labels=(("site", "seoul"), ("zone", "")),
    capabilities=(CAPABILITY,),
    feature_bits=5,
    max_message_bytes=1_048_576,
    job_slots=8,
    held_jobs=(HELD,),
    queue_stats=STATS,
    plugin_inventory_hash=HASH,
    held_jobs_omitted=3,
    last_session_epoch=7,
)

RUNNER: dict[str, m.RunnerBody] = {
    "hello": HELLO,
    "proof": m.Proof(b"signature"),
    "job_accept": m.JobAccept("job-1", LEASE, 1),
    "job_reject": m.JobReject("job-1", LEASE, 1, m.RejectReason.POLICY, "host not allowed"),
    "job_result": m.JobResult("job-1", LEASE, 1, m.ResultStatus.UNCERTAIN, b'{"ok":1}', ERROR, EXECUTION, True),
    "result_chunk": m.ResultChunk("job-1", LEASE, 1, 2, b"piece", HASH),
    "log_event": m.LogEvent(m.LogLevel.WARNING, "경고: slow", CLOCK, "job-1", "slack"),
    "event": m.Event("sidecar.quarantined", CLOCK, b'{"plugin":"slack"}'),
    "cancel_state": m.CancelState("job-1", LEASE, m.CancelPhase.TOO_LATE),
    "heartbeat": m.Heartbeat(CLOCK, 7, (LEASE, OLDER), 5, STATS, 4, 60_000, True, 99),
    "skip": m.Skip(10, 12, m.MessageClass.DROPPABLE, 3),
    "gap_report": m.GapReport(13, 14, "damaged rows"),
    "credential_reply": m.CredentialReply("offer-1", True, "stored"),
    "runner_goodbye": m.RunnerGoodbye("stop", ("job-1", "job-2")),
}
CORE_BODIES: dict[str, m.CoreBody] = {
    "challenge": m.Challenge(HASH),
    "welcome": m.Welcome(
        session_id=SESSION,
        session_epoch=12,
        core_epoch=CORE,
        core_replica="core-a",
        protocol=1,
        clock_unix_ms=CLOCK,
        ack_watermark=ACK,
        heartbeat_interval_ms=10_000,
        lease_ms=45_000,
        max_message_bytes=2_097_152,
        max_inflight_messages=64,
        max_inflight_bytes=262_144,
        feature_bits=1,
        job_verdicts=(VERDICT,),
        credential_offer=OFFER,
        trust_bundle_hash=HASH,
        plugin_inventory_wanted=True,
    ),
    "job": m.Job(
        job_id="job-1",
        lease_id=LEASE,
        attempt=1,
        capability="slack.send",
        input=b'{"text":"hi"}',
        input_sha256=HASH,
        effect_key="job-1/effect",
        effect_class=m.EffectClass.AT_MOST_ONCE,
        timeout_ms=30_000,
        lease_ms=60_000,
        start_by_ms=5_000,
        priority=-7,
        execution_id="exec-1",
        step_id="step-1",
        trace_context=(("traceparent", "00-1-2-01"),),
    ),
    "job_cancel": m.JobCancel("job-1", LEASE, m.CancelMode.KILL, 5_000),
    "ack": ACK,
    "pong": m.Pong(CLOCK + 5, CLOCK),
    "ping": m.Ping(77),
    "rewind": m.Rewind(EPOCH, 9),
    "slow": m.Slow(250),
    "drain": m.Drain(30_000, "upgrade"),
    "credential_offer": OFFER,
    "core_goodbye": m.CoreGoodbye("SEQ_GAP", "a hole", 900_000),
}
PARTS: tuple[object, ...] = (CAPABILITY, HELD, m.EpochStart(EPOCH, 40), STATS, VERDICT, ERROR, EXECUTION)


def runner_frame(body: m.RunnerBody) -> m.RunnerFrame:
    return m.RunnerFrame("t_default", "runner-1", (m.RunnerEnvelope(body, 3, MESSAGE, True),), SESSION)


def core_frame(body: m.CoreBody) -> m.CoreFrame:
    return m.CoreFrame("t_default", "runner-1", (m.CoreEnvelope(body, 3, True),), SESSION)


RELEASED: dict[str, m.RunnerBody | m.CoreBody] = {
    "runner.hello": replace(HELLO, held_jobs_omitted=0, last_session_epoch=0),
}
"""Messages that have grown, as they were released: their golden octets stay, and the whole example is under `NAME+`."""


def written_down() -> dict[str, m.RunnerBody | m.CoreBody]:
    """Every message that has golden octets, by the name they stand under."""
    found: dict[str, m.RunnerBody | m.CoreBody] = {f"runner.{arm}": body for arm, body in RUNNER.items()}
    found |= {f"core.{arm}": body for arm, body in CORE_BODIES.items()}
    return found | {f"{name}+": found[name] for name in RELEASED} | RELEASED


def _add_golden() -> None:
    from aisops_protocol import codec

    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    for name, body in written_down().items():
        if name.startswith("runner."):
            octets = codec.encode_runner_frame(runner_frame(cast("m.RunnerBody", body)))
        else:
            octets = codec.encode_core_frame(core_frame(cast("m.CoreBody", body)))
        golden.setdefault(name, octets.hex())
    GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    _add_golden()
