"""Opens sessions in the database, as many as want to at the same time in one unit of work.

A new session epoch, what the Runner offers, where its durable lane goes on, and a ruling on every job that either side
believes the Runner holds. A Runner that comes back as it went, which after an outage are thousands at once, costs four
indexed reads and two rows written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, bindparam, delete, false, insert, select, true, update

from aisops_core.dispatch import fence, lease, store
from aisops_core.dispatch.claims import LEASE_BYTES
from aisops_core.dispatch.events import describe
from aisops_core.dispatch.inputs import digest_of
from aisops_core.dispatch.job import ACTIVE, Grant, JobRecord, JobState, Note
from aisops_core.dispatch.lease import LeaseTerms, Returned, Ruling
from aisops_core.dispatch.records import SessionRef
from aisops_core.errors import SessionRefused
from aisops_core.runners.store import INSERT_EVENT
from aisops_core.storage.hot import HotLookup, HotQuery, HotStatement, Row
from aisops_core.storage.schema import capabilities, input_schemas, runners, watermarks
from aisops_protocol.errors import Refusal
from aisops_protocol.limits import PREVIOUS_EPOCHS
from aisops_protocol.messages import Capability, EffectClass, GapReport, Hello, JobVerdict
from aisops_protocol.resume import Resume, forgotten, resume, set_back
from aisops_protocol.resume import watermarks as shares
from aisops_protocol.skew import ClockLevel

KEPT_EPOCHS: Final = PREVIOUS_EPOCHS + 1
"""All that a Hello can name."""
_KEY: Final = ("b_tenant_id", "b_runner_id")
_OF_RUNNER: Final = (runners.c.tenant_id == bindparam("b_tenant_id")) & (
    runners.c.runner_id == bindparam("b_runner_id")
)
_RUNNER: Final = HotQuery(
    select(runners.c.session_epoch, runners.c.operator_labels_json, runners.c.clock_level, runners.c.confirmed_epoch)
    .where(_OF_RUNNER)
    .with_for_update(),
    _KEY,
)
_TAKEN: Final = (
    "session_epoch",
    "session_id",
    "instance_id",
    "labels_json",
    "last_seen_unix_ms",
    "agent_version",
    "os",
    "arch",
    "job_slots",
    "free_slots",
    "queue_messages",
    "queue_bytes",
    "queue_dropped",
    "queue_quarantined",
)
_TAKE_OVER: Final = HotStatement(
    update(runners)
    .where(_OF_RUNNER)
    .values(connected=true(), draining=false(), **{name: bindparam(f"b_{name}") for name in _TAKEN}),
    (*(f"b_{name}" for name in _TAKEN), *_KEY),
)
_CLOSE: Final = HotStatement(update(runners).where(fence.NEWEST).values(connected=false()), fence.NEWEST_NAMES)
_OFFER_NAMES: Final = (
    "name",
    "plugin",
    "plugin_version",
    "effect_class",
    "timeout_ms",
    "description",
    "schema_digest",
    "schema_error",
)
_OFFERED: Final = HotQuery(
    select(*(capabilities.c[name] for name in _OFFER_NAMES)).where(
        capabilities.c.tenant_id == bindparam("b_tenant_id"), capabilities.c.runner_id == bindparam("b_runner_id")
    ),
    _KEY,
)
_WITHDRAW: Final = HotStatement(
    delete(capabilities).where(
        capabilities.c.tenant_id == bindparam("b_tenant_id"), capabilities.c.runner_id == bindparam("b_runner_id")
    ),
    _KEY,
)
_SCHEMAS: Final = HotLookup(
    lambda keys: (
        select(input_schemas.c.digest)
        .where(input_schemas.c.tenant_id == bindparam("b_tenant_id"), input_schemas.c.digest.in_(keys))
        .with_for_update(read=True, key_share=True)  # a clearer may not take away what is about to be used
    ),
    ("b_tenant_id",),
)
_SCHEMA: Final = HotStatement(insert(input_schemas), ("tenant_id", "digest", "body"))
_OFFER: Final = HotStatement(insert(capabilities), ("tenant_id", "runner_id", "reported_unix_ms", *_OFFER_NAMES))
_MARKS: Final = HotQuery(
    select(watermarks.c.queue_epoch, watermarks.c.seq, watermarks.c.session_epoch).where(
        watermarks.c.tenant_id == bindparam("b_tenant_id"), watermarks.c.runner_id == bindparam("b_runner_id")
    ),
    _KEY,
)
_MOVE_MARK: Final = HotStatement(
    update(watermarks)
    .where(
        watermarks.c.tenant_id == bindparam("b_tenant_id"),
        watermarks.c.runner_id == bindparam("b_runner_id"),
        watermarks.c.queue_epoch == bindparam("b_queue_epoch"),
    )
    .values(seq=bindparam("b_seq"), session_epoch=bindparam("b_session_epoch")),
    ("b_seq", "b_session_epoch", *_KEY, "b_queue_epoch"),
)
_NEW_MARK: Final = HotStatement(insert(watermarks), ("seq", "session_epoch", "tenant_id", "runner_id", "queue_epoch"))


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that wants to open. `schema_problems` names, by schema digest, those that cannot be used here."""

    tenant_id: str
    runner_id: str
    session_id: bytes
    core_epoch: bytes
    hello: Hello
    schema_problems: Mapping[bytes, str]

    @property
    def restored(self) -> bool:
        """True when the Runner last spoke to another life of this database."""
        return bool(self.hello.last_core_epoch) and self.hello.last_core_epoch != self.core_epoch


@dataclass(slots=True)
class Opened:
    """What opening did.

    `leases` maps the leases this session now holds to (job id, accepted). `stopping` are (job id, lease id) whose
    cancellation the Runner is told of again, because no verdict does. `clock_level` is what was known of its clock,
    `confirmed_epoch` the newest session before that its disk should know of.
    """

    session_epoch: int
    labels: dict[str, str]
    lane: Resume
    clock_level: ClockLevel = ClockLevel.OK
    confirmed_epoch: int = 0
    offers_changed: bool = True
    verdicts: list[JobVerdict] = field(default_factory=list)
    leases: dict[bytes, tuple[str, bool]] = field(default_factory=dict)
    redeliver: list[JobRecord] = field(default_factory=list)
    stopping: list[tuple[str, bytes]] = field(default_factory=list)
    requeued: list[JobRecord] = field(default_factory=list)
    ended: list[JobRecord] = field(default_factory=list)


def open_sessions(
    connection: Connection,
    openings: Sequence[Opening],
    *,
    terms: LeaseTerms,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
) -> list[Opened | Exception]:
    """Make each the newest session of its Runner; they are of different Runners.

    Returns:
        What was opened, in the same order; for a Runner that is not known SessionRefused NOT_ENROLLED.
    """
    outcomes: dict[int, Opened | Exception] = {}
    taken: list[Row] = []
    # In one order for all, so that two Cores that open the same Runners never wait for each other.
    for at in sorted(range(len(openings)), key=lambda at: (openings[at].tenant_id, openings[at].runner_id)):
        opening = openings[at]
        try:
            opened, row = _take_over(connection, opening, now_ms)
        except SessionRefused as refused:
            outcomes[at] = refused
            continue
        taken.append(row)
        outcomes[at] = opened
        opened.offers_changed = _report(connection, opening, now_ms)
        opened.lane, lost_epoch = _resume(connection, opening, opened.session_epoch, now_ms)
        if set_back(opening.hello, opened.confirmed_epoch):
            lost_epoch = opened.session_epoch - 1
            _note_set_back(connection, opening, opened.confirmed_epoch, now_ms)
        _reconcile(connection, opening, opened, lost_epoch, terms=terms, now_ms=now_ms, random_bytes=random_bytes)
    _TAKE_OVER.many(connection, taken)
    return [outcomes[at] for at in range(len(openings))]


def _take_over(connection: Connection, opening: Opening, now_ms: int) -> tuple[Opened, Row]:
    """The session with its epoch and the Runner's labels, and the Runner's row as it is to be written."""
    hello, key = opening.hello, (opening.tenant_id, opening.runner_id)
    row = _RUNNER.first(connection, *key)
    if row is None:
        raise SessionRefused(Refusal.NOT_ENROLLED.value, f"There is no Runner {opening.runner_id!r} in this tenant.")
    epoch, operator_labels = int(row[0]) + 1, row[1]
    labels = {**dict(hello.labels), **json.loads(operator_labels)}
    stats = hello.queue_stats
    values = (
        epoch,
        opening.session_id,
        hello.instance_id,
        json.dumps(labels, sort_keys=True),
        now_ms,
        hello.agent_version,
        hello.os,
        hello.arch,
        hello.job_slots,
        max(0, hello.job_slots - len(hello.held_jobs)),
        stats.messages,
        stats.bytes,
        stats.dropped,
        stats.quarantined,
    )
    return Opened(epoch, labels, Resume(0), clock_level=ClockLevel(row[2]), confirmed_epoch=row[3]), (*values, *key)


def _report(connection: Connection, opening: Opening, now_ms: int) -> bool:
    """Replace what the Runner is known to offer by what it says now; False when it says nothing new."""
    tenant_id, _ = key = (opening.tenant_id, opening.runner_id)
    offers = {capability.name: _row_offer(capability, opening) for capability in opening.hello.capabilities}
    known = {row[0]: tuple(row) for row in _OFFERED.rows(connection, *key)}
    if known == offers:
        return False
    if known:
        _WITHDRAW.many(connection, [key])
    bodies = {digest_of(capability): capability.input_schema for capability in opening.hello.capabilities}
    stored = {bytes(digest) for (digest,) in _SCHEMAS.rows(connection, list(bodies), tenant_id)}
    _SCHEMA.many(connection, [(tenant_id, digest, body) for digest, body in bodies.items() if digest not in stored])
    _OFFER.many(connection, [(*key, now_ms, *offer) for offer in offers.values()])
    return True


def _row_offer(capability: Capability, opening: Opening) -> Row:
    """A capability as a row, in the order of `_OFFER_NAMES`."""
    digest = digest_of(capability)
    return (
        capability.name,
        capability.plugin,
        capability.plugin_version,
        int(capability.effect_class or EffectClass.AT_MOST_ONCE),
        capability.timeout_ms,
        capability.description,
        digest,
        opening.schema_problems.get(digest, ""),
    )


def _resume(connection: Connection, opening: Opening, session_epoch: int, now_ms: int) -> tuple[Resume, int]:
    """Decide where the durable lane goes on, and remember it for every queue epoch the Runner names.

    Returns:
        Where it goes on; and the newest session of which the Runner's disk may know nothing (0: none), because it was
        set back or is a copy. The mark of a lost history stays with its last session, so that later ones are trusted.
    """
    hello, key = opening.hello, (opening.tenant_id, opening.runner_id)
    rows = _MARKS.rows(connection, *key)
    known = {bytes(epoch): int(seq) for epoch, seq, _ in rows}
    lost = forgotten(hello, known)
    lost_epoch = max((session for epoch, _, session in rows if bytes(epoch) in lost), default=0)
    lane = resume(hello, known)
    written: dict[bool, list[Row]] = {True: [], False: []}
    for epoch, share in shares(hello, lane.seq).items():
        # Only the current epoch's mark may go down: the Runner went back in time without opening its queue anew.
        seq = share if epoch == hello.queue_epoch else max(share, known.get(epoch, 0))
        if epoch not in lost or epoch == hello.queue_epoch:
            written[epoch in known].append((seq, session_epoch, *key, epoch))
    _MOVE_MARK.many(connection, written[True])
    _NEW_MARK.many(connection, written[False])
    if len(known) + len(written[False]) > KEPT_EPOCHS:
        _forget_epochs(connection, opening)
    if lane.gap is not None:
        gap = describe(GapReport(*lane.gap, "the Runner no longer has these messages"), now_ms)
        if gap is not None:
            at, kind, data = gap
            INSERT_EVENT.many(connection, [(opening.tenant_id, opening.runner_id, at, kind, data)])
    return lane, lost_epoch


def _note_set_back(connection: Connection, opening: Opening, known: int, now_ms: int) -> None:
    """Once: from the next session on the disk knows of this one."""
    facts = json.dumps({"last_session": opening.hello.last_session_epoch, "known_to_core": known})
    INSERT_EVENT.many(connection, [(opening.tenant_id, opening.runner_id, now_ms, "set_back", facts)])


def _forget_epochs(connection: Connection, opening: Opening) -> None:
    c = watermarks.c
    mine = (c.tenant_id == opening.tenant_id) & (c.runner_id == opening.runner_id)
    named = {opening.hello.queue_epoch, *(one.epoch for one in opening.hello.previous_epochs)}
    newest = select(c.queue_epoch).where(mine).order_by(c.session_epoch.desc(), c.seq.desc())
    others = [epoch for (epoch,) in connection.execute(newest) if bytes(epoch) not in named]
    old = others[max(0, KEPT_EPOCHS - len(named)) :]
    if old:
        connection.execute(delete(watermarks).where(mine, c.queue_epoch.in_(old)))


def _reconcile(
    connection: Connection,
    opening: Opening,
    opened: Opened,
    lost_epoch: int,
    *,
    terms: LeaseTerms,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
) -> None:
    tenant_id, hello = opening.tenant_id, opening.hello
    held = {entry.job_id: entry for entry in hello.held_jobs}
    leased = {job.job_id: job for job in store.leased_to(connection, tenant_id, opening.runner_id)}
    jobs = {**store.load(connection, tenant_id, held.keys() - leased.keys()), **leased}
    notes: list[Note] = []
    changed: list[JobRecord] = []

    def grant() -> Grant:
        right = (opening.runner_id, opened.session_epoch, hello.journal_id, random_bytes(LEASE_BYTES))
        return Grant(*right, terms.until(now_ms), terms.patience_ms)

    for entry in held.values():
        job = jobs.get(entry.job_id)
        current = job is None or (job.session_epoch or 0) > lost_epoch
        returned = lease.reconcile_held(job, entry, grant(), restored=opening.restored, now_ms=now_ms, current=current)
        notes += returned.notes
        if returned.verdict is not None:
            opened.verdicts.append(JobVerdict(entry.job_id, returned.verdict))
        if job is not None and returned.ruling is not None:
            changed.append(job)
            _hold(opened, job, returned)
            if returned.ruling is Ruling.ENDED:
                opened.ended.append(job)
    for job in leased.values():
        if job.job_id not in held and job.state in ACTIVE:
            # After a restore, a job that the journal no longer names may have been done and acknowledged before; a
            # disk that was set back or copied may never have named it.
            trusted = not opening.restored and (job.session_epoch or 0) > lost_epoch
            changed.append(job)
            if trusted and hello.held_jobs_omitted and job.journal_id == hello.journal_id:
                lease.reconcile_unnamed(job, grant())
                _leave(opened, job)
                continue
            notes += lease.reconcile_missing(job, hello.journal_id if trusted else b"", now_ms).notes
            (opened.requeued if job.state is JobState.QUEUED else opened.ended).append(job)
    if not changed and not notes:
        return
    store.save(connection, changed)
    store.add_notes(connection, notes)
    again = [job.job_id for job in opened.redeliver]
    opened.redeliver = list(store.load(connection, tenant_id, again, with_input=True).values())


def _hold(opened: Opened, job: JobRecord, returned: Returned) -> None:
    if job.lease_id is None:
        return
    again = returned.ruling is Ruling.REDELIVER
    opened.leases[job.lease_id] = (job.job_id, not again)
    if again:
        opened.redeliver.append(job)


def _leave(opened: Opened, job: JobRecord) -> None:
    """A job that the Hello may have had no room for stays; a cancellation goes ahead of its delivery again."""
    if job.lease_id is None:
        return
    opened.leases[job.lease_id] = (job.job_id, job.state is JobState.RUNNING)
    if job.cancel_requested:
        opened.stopping.append((job.job_id, job.lease_id))


def close_sessions(connection: Connection, refs: Sequence[SessionRef]) -> None:
    """Note that sessions are over, but where a newer one has begun. Leases stay with the Runner until they lapse."""
    rows = [(ref.tenant_id, ref.runner_id, ref.session_epoch) for ref in refs]
    _CLOSE.many(connection, sorted(rows))
