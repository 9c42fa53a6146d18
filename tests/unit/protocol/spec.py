"""The limits of every field, written down a second time and independently of the codec, from the .proto comments.

Each kind of field knows values just inside and just outside its limit, and a hypothesis strategy of inside values.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from typing import Any

from hypothesis import strategies as st

from aisops_protocol import messages as m

ID_ALPHABET = "ABCxyz019._:-"
MIB = 1024 * 1024
DAYS_30 = 2_592_000_000
YEAR_9999 = 253_402_300_799_999
BIG = 2**63 - 1


@dataclass(frozen=True)
class Kind:
    good: tuple[Any, ...]
    bad: tuple[Any, ...]
    values: st.SearchStrategy[Any]


def num(least: int, most: int) -> Kind:
    return Kind((least, most), (least - 1, most + 1), st.integers(least, most))


def text(most: int, least: int = 0) -> Kind:
    good = ("a" * least, "a" * most, "가" * (most // 3), "\u202e😀")
    bad = ("a" * (most + 1), "가" * (most // 3 + 1), "a\0b", "\ud800") + (("",) if least else ())
    alphabet = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
    return Kind(good, bad, st.text(alphabet, min_size=least, max_size=min(most // 4, 40)))


def octets(most: int, least: int = 0) -> Kind:
    good = (b"x" * least, b"\0" * most)
    return Kind(
        good, (b"x" * (most + 1),) + ((b"",) if least else ()), st.binary(min_size=least, max_size=min(most, 64))
    )


def exact(size: int, *, optional: bool = False) -> Kind:
    empty = (b"",)
    values = st.binary(min_size=size, max_size=size)
    bad = (b"x", b"x" * (size - 1), b"x" * (size + 1))
    return Kind((b"\0" * size, *(empty if optional else ())), bad if optional else (*bad, *empty),
                st.just(b"") | values if optional else values)  # fmt: skip


def ident(*, optional: bool = False) -> Kind:
    bad = ("a" * 129, "a\0", "a b", "a/b", "../a", "é", "a\n", "\u202ea", "😀", "\ud800")
    values = st.text(ID_ALPHABET, min_size=0 if optional else 1, max_size=20)
    good = ("a", "a" * 128, "t_1.a:x-Y")
    return Kind((*good, *(("",) if optional else ())), bad if optional else (*bad, ""), values)


def enum(kind: type[IntEnum]) -> Kind:
    return Kind(tuple(kind), (), st.sampled_from(kind))


def listed(values: st.SearchStrategy[Any], item: Any, most: int, bad_item: Any = None) -> Kind:
    bad: tuple[Any, ...] = ((item,) * (most + 1),) + (((item, bad_item),) if bad_item is not None else ())
    return Kind(((), (item,) * most), bad, st.lists(values, max_size=3).map(tuple))


def pairs(most: int) -> Kind:
    short = st.text("abc", min_size=1, max_size=4)
    bad = (
        tuple((f"k{n}", "") for n in range(most + 1)),
        (("a", "1"), ("a", "2")),
        (("", "1"),),
        (("a" * 257, "1"),),
        (("a", "b" * 257),),
        (("a", "\0"),),
    )
    good = ((), tuple((f"k{n}", "v") for n in range(most)), (("k" * 256, "v" * 256),))
    return Kind(good, bad, st.dictionaries(short, short, max_size=3).map(lambda d: tuple(d.items())))


def part(kind: type[Any], *, optional: bool = False) -> Kind:
    values = message(kind)
    return Kind((None,) if optional else (), (), st.none() | values if optional else values)


def parts(kind: type[Any], item: Any, most: int) -> Kind:
    return listed(message(kind), item, most)


def message(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Valid messages of this type, the rules over several fields included."""
    if kind is m.Hello:
        return _hellos()
    built = st.deferred(lambda: st.builds(kind, **{name: field.values for name, field in SPEC[kind].items()}))
    if kind in {m.Skip, m.GapReport}:
        return built.filter(lambda value: value.from_seq <= value.to_seq)
    if kind is m.ResultChunk:
        return built.filter(lambda value: value.index < value.count)
    return built


@st.composite
def _hellos(draw: st.DrawFn) -> m.Hello:
    starts = sorted(draw(st.lists(st.integers(1, BIG), min_size=1, max_size=5)))
    epochs = draw(
        st.lists(st.binary(min_size=16, max_size=16), min_size=len(starts), max_size=len(starts), unique=True)
    )
    next_seq = draw(st.integers(starts[-1], BIG))
    low, high = sorted(draw(st.tuples(st.integers(1, 9), st.integers(1, 9))))
    fixed = {
        "protocol_min": low,
        "protocol_max": high,
        "queue_epoch": epochs[-1],
        "epoch_start_seq": starts[-1],
        "next_seq": next_seq,
        "oldest_unacked_seq": draw(st.integers(1, next_seq)),
        "previous_epochs": tuple(m.EpochStart(*each) for each in zip(epochs[:-1], starts[:-1], strict=True)),
    }
    rest = {name: draw(field.values) for name, field in SPEC[m.Hello].items() if name not in fixed}
    return m.Hello(**fixed, **rest)


ID, MAYBE_ID, TOKEN, MAYBE_TOKEN = ident(), ident(optional=True), exact(16), exact(16, optional=True)
HASH, MAYBE_HASH = exact(32), exact(32, optional=True)
FLAG = Kind((True, False), (), st.booleans())
ATTEMPT, SEQ, COUNT, CLOCK = num(1, 1_000_000), num(1, BIG), num(0, BIG), num(0, YEAR_9999)
PAUSE, SPAN = num(0, DAYS_30), num(1, DAYS_30)
NAME, REASON, ERROR_TEXT = text(256), text(1024), text(16_384)
KEY = Kind(
    ("a", "!" * 255, "~"), ("", "a" * 256, "a b", "é", "a\0", "a\r\nb"), st.text("aZ9!~/", min_size=1, max_size=9)
)
LEASED = {"job_id": ID, "lease_id": TOKEN, "attempt": ATTEMPT}

SPEC: dict[type[Any], dict[str, Kind]] = {
    m.Capability: {
        "name": ID, "plugin": ID, "plugin_version": NAME, "effect_class": enum(m.EffectClass), "timeout_ms": SPAN,
        "input_schema": octets(65_536), "description": text(4096),
    },
    m.HeldJob: {**LEASED, "phase": enum(m.JobPhase)},
    m.EpochStart: {"epoch": TOKEN, "start_seq": SEQ},
    m.QueueStats: {"messages": COUNT, "bytes": COUNT, "dropped": COUNT, "quarantined": COUNT},
    m.JobVerdict: {"job_id": ID, "verdict": enum(m.Verdict)},
    m.JobError: {
        "code": text(256, 1), "message": ERROR_TEXT, "retryable": FLAG, "ambiguous": FLAG, "retry_after_ms": PAUSE,
        "details": octets(65_536),
    },
    m.ExecutionInfo: {
        "plugin": MAYBE_ID, "plugin_version": NAME, "sidecar_pid": COUNT, "calls": COUNT, "started_unix_ms": CLOCK,
        "duration_ms": COUNT,
    },
    m.Proof: {"signature": octets(1024, 1)},
    m.JobAccept: LEASED,
    m.JobReject: {**LEASED, "reason": enum(m.RejectReason), "message": ERROR_TEXT},
    m.JobResult: {
        **LEASED, "status": enum(m.ResultStatus), "output": octets(262_144), "error": part(m.JobError, optional=True),
        "execution": part(m.ExecutionInfo), "truncated": FLAG,
    },
    m.ResultChunk: {
        "job_id": ID, "lease_id": TOKEN, "index": num(0, 63), "count": num(1, 64), "data": octets(262_144, 1),
        "sha256": MAYBE_HASH,
    },
    m.LogEvent: {
        "level": enum(m.LogLevel), "text": text(16_384), "time_unix_ms": CLOCK, "job_id": MAYBE_ID, "source": NAME,
    },
    m.Event: {"kind": ID, "time_unix_ms": CLOCK, "data": octets(65_536)},
    m.CancelState: {"job_id": ID, "lease_id": TOKEN, "phase": enum(m.CancelPhase)},
    m.Heartbeat: {
        "clock_unix_ms": CLOCK, "core_ack": COUNT, "leases": listed(TOKEN.values, b"\1" * 16, 8192, b"short"),
        "free_slots": num(0, 8192), "queue_stats": part(m.QueueStats), "offline_beats": COUNT, "offline_ms": COUNT,
        "draining": FLAG, "ping_nonce": COUNT,
    },
    m.Skip: {"from_seq": SEQ, "to_seq": SEQ, "message_class": enum(m.MessageClass), "count": COUNT},
    m.GapReport: {"from_seq": SEQ, "to_seq": SEQ, "reason": REASON},
    m.CredentialReply: {"offer_id": ID, "accepted": FLAG, "message": REASON},
    m.RunnerGoodbye: {"reason": REASON, "unfinished": listed(ID.values, "job", 8192, "bad id")},
    m.Challenge: {"nonce": HASH},
    m.Ack: {
        "queue_epoch": TOKEN, "seq": COUNT, "max_inflight_messages": num(0, 65_536),
        "max_inflight_bytes": num(0, 64 * MIB),
    },
    m.CredentialOffer: {"offer_id": ID, "kind": ID, "payload": octets(262_144, 1), "generation": COUNT},
    m.JobCancel: {"job_id": ID, "lease_id": TOKEN, "mode": enum(m.CancelMode), "grace_ms": PAUSE},
    m.Pong: {"clock_unix_ms": CLOCK, "echo_clock_unix_ms": CLOCK},
    m.Ping: {"nonce": COUNT},
    m.Rewind: {"queue_epoch": TOKEN, "from_seq": SEQ},
    m.Slow: {"pause_ms": PAUSE},
    m.Drain: {"reconnect_after_ms": PAUSE, "reason": REASON},
    m.CoreGoodbye: {"code": ID, "message": REASON, "retry_after_ms": PAUSE},
    m.Job: {
        **LEASED, "capability": ID, "input": octets(MIB), "input_sha256": HASH, "effect_key": KEY,
        "effect_class": enum(m.EffectClass), "timeout_ms": SPAN, "lease_ms": SPAN, "start_by_ms": PAUSE,
        "priority": num(-1000, 1000), "execution_id": MAYBE_ID, "step_id": MAYBE_ID, "trace_context": pairs(8),
    },
}  # fmt: skip
SPEC[m.Welcome] = {
    "session_id": TOKEN, "session_epoch": SEQ, "core_epoch": TOKEN, "core_replica": NAME, "protocol": SEQ,
    "clock_unix_ms": CLOCK, "ack_watermark": part(m.Ack), "heartbeat_interval_ms": SPAN, "lease_ms": SPAN,
    "max_message_bytes": num(65_536, BIG), "max_inflight_messages": num(1, 65_536),
    "max_inflight_bytes": num(1, 64 * MIB), "feature_bits": COUNT,
    "job_verdicts": parts(m.JobVerdict, m.JobVerdict("job", m.Verdict.KEEP), 8192),
    "credential_offer": part(m.CredentialOffer, optional=True), "trust_bundle_hash": MAYBE_HASH,
    "plugin_inventory_wanted": FLAG,
}  # fmt: skip
SPEC[m.Hello] = {
    "protocol_min": num(1, BIG), "protocol_max": num(1, BIG), "instance_id": TOKEN, "boot_id": NAME,
    "agent_version": NAME, "os": NAME, "arch": NAME, "clock_unix_ms": CLOCK, "queue_epoch": TOKEN,
    "epoch_start_seq": SEQ, "next_seq": SEQ, "oldest_unacked_seq": SEQ, "journal_id": TOKEN,
    "previous_epochs": parts(m.EpochStart, m.EpochStart(b"\1" * 16, 1), 16), "last_core_epoch": MAYBE_TOKEN,
    "credential_generation": COUNT, "cert_fingerprint": MAYBE_HASH, "labels": pairs(64),
    "capabilities": parts(m.Capability, m.Capability("a", "b", "c"), 512), "feature_bits": COUNT,
    "max_message_bytes": num(65_536, BIG), "job_slots": num(0, 8192),
    "held_jobs": parts(m.HeldJob, m.HeldJob("job", b"\1" * 16, 1, m.JobPhase.DONE), 8192),
    "queue_stats": part(m.QueueStats), "plugin_inventory_hash": MAYBE_HASH, "held_jobs_omitted": COUNT,
    "last_session_epoch": COUNT,
}  # fmt: skip

LINKED = {
    (m.Hello, name)
    for name in ("protocol_min", "protocol_max", "epoch_start_seq", "next_seq", "oldest_unacked_seq", "previous_epochs")
} | {(kind, name) for kind in (m.Skip, m.GapReport) for name in ("from_seq", "to_seq")} | {
    (m.ResultChunk, "index"),
    (m.ResultChunk, "count"),
}  # fmt: skip
"""Fields whose inside values also depend on another field: a rule of its own tests them."""


def raw(value: Any) -> Any:
    """A message as plain dicts for the protobuf constructor, unchecked: an encoder independent of the codec."""
    if is_dataclass(value):
        return {field.name: raw(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        if value and all(isinstance(item, tuple) for item in value):
            return [{"key": key, "value": text_} for key, text_ in value]
        return [raw(item) for item in value]
    return int(value) if isinstance(value, IntEnum) else value
