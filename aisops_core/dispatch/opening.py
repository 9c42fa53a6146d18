"""Opens a session in the database, in one unit of work.

A new session epoch, what the Runner offers, where its durable lane goes on, and a ruling on every job that either side
believes the Runner holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from aisops_core.dispatch import fence, lease, store
from aisops_core.dispatch.claims import LEASE_BYTES
from aisops_core.dispatch.events import describe
from aisops_core.dispatch.job import ACTIVE, Grant, JobRecord, JobState, Note
from aisops_core.dispatch.lease import LeaseTerms, Returned, Ruling
from aisops_core.dispatch.records import SessionRef
from aisops_core.errors import Fenced, SessionRefused
from aisops_core.storage.schema import capabilities, input_schemas, runner_events, runners, watermarks
from aisops_protocol.errors import Refusal
from aisops_protocol.limits import PREVIOUS_EPOCHS
from aisops_protocol.messages import Capability, EffectClass, GapReport, Hello, JobVerdict
from aisops_protocol.resume import Resume, forgotten, resume
from aisops_protocol.resume import watermarks as shares

KEPT_EPOCHS: Final = PREVIOUS_EPOCHS


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
    """What opening did. `leases` maps the leases this session now holds to (job id, accepted)."""

    session_epoch: int
    labels: dict[str, str]
    lane: Resume
    verdicts: list[JobVerdict] = field(default_factory=list)
    leases: dict[bytes, tuple[str, bool]] = field(default_factory=dict)
    redeliver: list[JobRecord] = field(default_factory=list)
    requeued: list[JobRecord] = field(default_factory=list)
    ended: list[JobRecord] = field(default_factory=list)


def digest_of(capability: Capability) -> bytes:
    """SHA-256 of a capability's input schema: its name in caches and in the table of schemas."""
    return hashlib.sha256(capability.input_schema).digest()


def open_session(
    connection: Connection,
    opening: Opening,
    *,
    terms: LeaseTerms,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
) -> Opened:
    """Make this the Runner's newest session.

    Raises:
        SessionRefused: NOT_ENROLLED, when the Runner is not known.
    """
    epoch, labels = _take_over(connection, opening, now_ms)
    _report(connection, opening, now_ms)
    lane, lost_epoch = _resume(connection, opening, epoch, now_ms)
    opened = Opened(epoch, labels, lane)
    _reconcile(connection, opening, opened, lost_epoch, terms=terms, now_ms=now_ms, random_bytes=random_bytes)
    return opened


def _take_over(connection: Connection, opening: Opening, now_ms: int) -> tuple[int, dict[str, str]]:
    hello = opening.hello
    mine = (runners.c.tenant_id == opening.tenant_id) & (runners.c.runner_id == opening.runner_id)
    row = connection.execute(
        select(runners.c.session_epoch, runners.c.operator_labels_json).where(mine).with_for_update()
    ).first()
    if row is None:
        raise SessionRefused(Refusal.NOT_ENROLLED.value, f"There is no Runner {opening.runner_id!r} in this tenant.")
    labels = {**dict(hello.labels), **json.loads(row.operator_labels_json)}
    stats = hello.queue_stats
    connection.execute(
        update(runners)
        .where(mine)
        .values(
            session_epoch=row.session_epoch + 1,
            session_id=opening.session_id,
            instance_id=hello.instance_id,
            labels_json=json.dumps(labels, sort_keys=True),
            connected=True,
            last_seen_unix_ms=now_ms,
            agent_version=hello.agent_version,
            os=hello.os,
            arch=hello.arch,
            job_slots=hello.job_slots,
            free_slots=max(0, hello.job_slots - len(hello.held_jobs)),
            draining=False,
            queue_messages=stats.messages,
            queue_bytes=stats.bytes,
            queue_dropped=stats.dropped,
            queue_quarantined=stats.quarantined,
        )
    )
    return row.session_epoch + 1, labels


def _report(connection: Connection, opening: Opening, now_ms: int) -> None:
    """Replace what the Runner is known to offer by what it says now."""
    tenant_id, runner_id = opening.tenant_id, opening.runner_id
    offers = {capability.name: capability for capability in opening.hello.capabilities}
    bodies = {digest_of(capability): capability.input_schema for capability in offers.values()}
    connection.execute(
        delete(capabilities).where(capabilities.c.tenant_id == tenant_id, capabilities.c.runner_id == runner_id)
    )
    c = input_schemas.c
    query = select(c.digest).where(c.tenant_id == tenant_id, c.digest.in_(list(bodies)))
    known = {bytes(digest) for (digest,) in connection.execute(query)} if bodies else set()
    fresh = [{"tenant_id": tenant_id, "digest": d, "body": body} for d, body in bodies.items() if d not in known]
    if fresh:
        connection.execute(insert(input_schemas), fresh)
    rows = [
        {
            "tenant_id": tenant_id,
            "runner_id": runner_id,
            "name": capability.name,
            "plugin": capability.plugin,
            "plugin_version": capability.plugin_version,
            "effect_class": int(capability.effect_class or EffectClass.AT_MOST_ONCE),
            "timeout_ms": capability.timeout_ms,
            "description": capability.description,
            "schema_digest": digest_of(capability),
            "schema_error": opening.schema_problems.get(digest_of(capability), ""),
            "reported_unix_ms": now_ms,
        }
        for capability in offers.values()
    ]
    if rows:
        connection.execute(insert(capabilities), rows)


def _resume(connection: Connection, opening: Opening, session_epoch: int, now_ms: int) -> tuple[Resume, int]:
    """Decide where the durable lane goes on, and remember it for every queue epoch the Runner names.

    Returns:
        Where it goes on; and the newest session of which the Runner's disk may know nothing (0: none), because it was
        set back or is a copy. The mark of a lost history stays with its last session, so that later ones are trusted.
    """
    c, hello = watermarks.c, opening.hello
    mine = (c.tenant_id == opening.tenant_id) & (c.runner_id == opening.runner_id)
    rows = connection.execute(select(c.queue_epoch, c.seq, c.session_epoch).where(mine)).all()
    known = {bytes(epoch): seq for epoch, seq, _ in rows}
    lost = forgotten(hello, known)
    lost_epoch = max((session for epoch, _, session in rows if bytes(epoch) in lost), default=0)
    lane = resume(hello, known)
    for epoch, share in shares(hello, lane.seq).items():
        # Only the current epoch's mark may go down: the Runner went back in time without opening its queue anew.
        seq = share if epoch == hello.queue_epoch else max(share, known.get(epoch, 0))
        values = {"seq": seq, "session_epoch": session_epoch}
        if epoch in lost and epoch != hello.queue_epoch:
            continue
        if epoch in known:
            connection.execute(update(watermarks).where(mine, c.queue_epoch == epoch).values(**values))
        else:
            key = {"tenant_id": opening.tenant_id, "runner_id": opening.runner_id, "queue_epoch": epoch}
            connection.execute(insert(watermarks).values(**key, **values))
    _forget_epochs(connection, opening)
    if lane.gap is not None:
        gap = describe(GapReport(*lane.gap, "the Runner no longer has these messages"), now_ms)
        if gap is not None:
            at, kind, data = gap
            connection.execute(
                insert(runner_events).values(
                    tenant_id=opening.tenant_id, runner_id=opening.runner_id, at_unix_ms=at, kind=kind, data=data
                )
            )
    return lane, lost_epoch


def _forget_epochs(connection: Connection, opening: Opening) -> None:
    c = watermarks.c
    mine = (c.tenant_id == opening.tenant_id) & (c.runner_id == opening.runner_id)
    newest = select(c.queue_epoch).where(mine).order_by(c.session_epoch.desc())
    old = [epoch for (epoch,) in connection.execute(newest)][KEPT_EPOCHS:]
    old = [epoch for epoch in old if bytes(epoch) != opening.hello.queue_epoch]
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
    for entry in held.values():
        grant = Grant(
            opening.runner_id,
            opened.session_epoch,
            hello.journal_id,
            random_bytes(LEASE_BYTES),
            terms.until(now_ms),
        )
        job = jobs.get(entry.job_id)
        returned = lease.reconcile_held(job, entry, grant, restored=opening.restored, now_ms=now_ms)
        notes += returned.notes
        if returned.verdict is not None:
            opened.verdicts.append(JobVerdict(entry.job_id, returned.verdict))
        if job is not None and returned.ruling is not None:
            changed.append(job)
            _hold(opened, job, returned)
    for job in leased.values():
        if job.job_id not in held and job.state in ACTIVE:
            # After a restore, a job that the journal no longer names may have been done and acknowledged before; a
            # disk that was set back or copied may never have named it.
            trusted = not opening.restored and (job.session_epoch or 0) > lost_epoch
            journal_id = hello.journal_id if trusted else b""
            notes += lease.reconcile_missing(job, journal_id, now_ms).notes
            changed.append(job)
            (opened.requeued if job.state is JobState.QUEUED else opened.ended).append(job)
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


def close_session(connection: Connection, ref: SessionRef) -> None:
    """Note that the session is over, unless a newer one has begun. Leases stay with the Runner until they lapse."""
    with contextlib.suppress(Fenced):
        fence.touch(connection, ref, connected=False)
