"""Runners at rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from aisops_core.audit.log import append
from aisops_core.audit.record import AuditEntry
from aisops_core.clock import Clock
from aisops_core.errors import AlreadyExists, FieldError, InvalidRequest, RunnerNotFound, TenantNotFound
from aisops_core.runners.record import CapabilityRecord, RunnerEvent, RunnerRecord
from aisops_core.storage.engine import Store
from aisops_core.storage.hot import HotStatement
from aisops_core.storage.schema import capabilities, input_schemas, runner_events, runners
from aisops_core.tenants.store import check_id, find
from aisops_protocol.limits import LABEL_BYTES, LABELS
from aisops_protocol.messages import EffectClass, QueueStats
from aisops_protocol.skew import ClockLevel

LOST_MS: Final = 45_000
_FORGET_CONNECTIONS: Final = update(runners).where(runners.c.connected).values(connected=False)
"""A Runner not heard of for so long counts as gone, whatever its row says."""


def check_labels(labels: Mapping[str, str], path: str = "/labels") -> dict[str, str]:
    """The labels, when there are at most 64 and each key and value has 1 to 256 octets.

    Raises:
        InvalidRequest: They are not.
    """
    errors = []
    if len(labels) > LABELS:
        errors.append(FieldError(path, f"at most {LABELS} labels"))
    for key, value in labels.items():
        pointer = f"{path}/{key[:64].replace('~', '~0').replace('/', '~1')}"
        if not 0 < len(key.encode(errors="replace")) <= LABEL_BYTES or not key.isprintable():
            errors.append(FieldError(pointer, f"a label's key has 1 to {LABEL_BYTES} printable bytes"))
        if len(value.encode(errors="replace")) > LABEL_BYTES or not value.isprintable():
            errors.append(FieldError(pointer, f"a label's value has at most {LABEL_BYTES} printable bytes"))
    if errors:
        raise InvalidRequest("The labels are not valid.", errors[:LABELS])
    return dict(labels)


class RunnerStore:
    """Creates and reads Runners."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self, tenant_id: str, runner_id: str, labels: Mapping[str, str] | None = None, *, actor: str = "cli"
    ) -> RunnerRecord:
        """Make a Runner known. `labels` are the operator's; they win over what the Runner says of itself.

        Raises:
            InvalidRequest: The id or a label is malformed.
            AlreadyExists: There is a Runner of that id.
            TenantNotFound: There is no such tenant.
            StorageUnavailable: The database could not serve.
        """
        check_id(runner_id, "/runner_id")
        kept = check_labels(labels or {})
        now_ms = self._clock.unix_ms()

        def unit(connection: Connection) -> None:
            if find(connection, tenant_id) is None:
                raise TenantNotFound(tenant_id)
            if _select(connection, tenant_id, runner_id, now_ms):
                raise AlreadyExists("Runner", runner_id)
            connection.execute(
                insert(runners).values(
                    tenant_id=tenant_id,
                    runner_id=runner_id,
                    operator_labels_json=json.dumps(kept, sort_keys=True),
                    labels_json=json.dumps(kept, sort_keys=True),
                    created_unix_ms=now_ms,
                )
            )
            append(connection, [AuditEntry(tenant_id, actor, "runner.create", runner_id, {"labels": kept})], now_ms)

        await self._store.write(unit)
        return RunnerRecord(tenant_id, runner_id, kept, now_ms)

    async def forget_connections(self) -> None:
        """No Runner is connected: for the start of the one process that serves this database.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        await self._store.write(lambda connection: connection.execute(_FORGET_CONNECTIONS).rowcount)

    async def list(self, tenant_id: str) -> Sequence[RunnerRecord]:
        """The tenant's Runners by name, with what each offers.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        now_ms = self._clock.unix_ms()
        return await self._store.read(lambda connection: _select(connection, tenant_id, None, now_ms))

    async def get(self, tenant_id: str, runner_id: str) -> RunnerRecord:
        """One Runner.

        Raises:
            RunnerNotFound: This tenant has no such Runner.
            StorageUnavailable: The database could not serve.
        """
        now_ms = self._clock.unix_ms()
        found = await self._store.read(lambda connection: _select(connection, tenant_id, runner_id, now_ms))
        if not found:
            raise RunnerNotFound(runner_id)
        return found[0]

    async def events(self, tenant_id: str, runner_id: str, limit: int = 50) -> Sequence[RunnerEvent]:
        """The newest `limit` events of one Runner, newest first: times offline, gaps, refused clones, its own words.

        Raises:
            RunnerNotFound: This tenant has no such Runner.
            StorageUnavailable: The database could not serve.
        """

        def query(connection: Connection) -> list[RunnerEvent]:
            if not _select(connection, tenant_id, runner_id, 0):
                raise RunnerNotFound(runner_id)
            c = runner_events.c
            mine = (c.tenant_id == tenant_id) & (c.runner_id == runner_id)
            newest = select(c.at_unix_ms, c.kind, c.data).where(mine).order_by(c.id.desc()).limit(limit)
            return [RunnerEvent(*row) for row in connection.execute(newest)]

        return await self._store.read(query)

    async def capabilities(self, tenant_id: str) -> Sequence[CapabilityRecord]:
        """Everything the tenant's Runners offer, one record per Runner and capability, by name and then newest first.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        return await self._store.read(lambda connection: offered(connection, tenant_id))


EVENT_NAMES: Final = ("tenant_id", "runner_id", "at_unix_ms", "kind", "data")
INSERT_EVENT: Final = HotStatement(insert(runner_events), EVENT_NAMES)
"""Puts something on record about a Runner; `data` is JSON text."""
_RUNNER: Final = (
    runners.c.tenant_id,
    runners.c.runner_id,
    runners.c.labels_json,
    runners.c.created_unix_ms,
    runners.c.session_epoch,
    runners.c.connected,
    runners.c.last_seen_unix_ms,
    runners.c.agent_version,
    runners.c.os,
    runners.c.arch,
    runners.c.job_slots,
    runners.c.free_slots,
    runners.c.draining,
    runners.c.queue_messages,
    runners.c.queue_bytes,
    runners.c.queue_dropped,
    runners.c.queue_quarantined,
    runners.c.clock_skew_ms,
    runners.c.clock_level,
    runners.c.clone_refused_unix_ms,
)


def _select(connection: Connection, tenant_id: str, runner_id: str | None, now_ms: int) -> list[RunnerRecord]:
    query = select(*_RUNNER).where(runners.c.tenant_id == tenant_id).order_by(runners.c.runner_id)
    if runner_id is not None:
        query = query.where(runners.c.runner_id == runner_id)
    offers: dict[str, list[CapabilityRecord]] = {}
    for capability in offered(connection, tenant_id, runner_id):
        offers.setdefault(capability.runner_id, []).append(capability)
    return [_record(row, offers.get(row.runner_id, ()), now_ms) for row in connection.execute(query)]


def _record(row: Any, offers: Sequence[CapabilityRecord], now_ms: int) -> RunnerRecord:
    return RunnerRecord(
        tenant_id=row.tenant_id,
        runner_id=row.runner_id,
        labels=json.loads(row.labels_json),
        created_unix_ms=row.created_unix_ms,
        session_epoch=row.session_epoch,
        connected=row.connected and now_ms - row.last_seen_unix_ms < LOST_MS,
        last_seen_unix_ms=row.last_seen_unix_ms,
        agent_version=row.agent_version,
        os=row.os,
        arch=row.arch,
        job_slots=row.job_slots,
        free_slots=row.free_slots,
        draining=row.draining,
        queue_stats=QueueStats(row.queue_messages, row.queue_bytes, row.queue_dropped, row.queue_quarantined),
        clock_skew_ms=row.clock_skew_ms,
        clock_level=ClockLevel(row.clock_level),
        clone_refused_unix_ms=row.clone_refused_unix_ms,
        capabilities=tuple(offers),
    )


def labels_of(connection: Connection, tenant_id: str, runner_id: str) -> dict[str, str]:
    """The labels of one Runner, inside a transaction; empty when there is no such Runner."""
    query = select(runners.c.labels_json).where(runners.c.tenant_id == tenant_id, runners.c.runner_id == runner_id)
    found = connection.execute(query).scalar()
    labels: dict[str, str] = {} if found is None else json.loads(found)
    return labels


def offered(
    connection: Connection, tenant_id: str, runner_id: str | None = None, *, capability: str | None = None
) -> list[CapabilityRecord]:
    """Capabilities of a tenant, inside a transaction, by name and then newest first.

    Args:
        connection: The transaction.
        tenant_id: Whose.
        runner_id: Only this Runner's.
        capability: Only this one.
    """
    c, s = capabilities.c, input_schemas.c
    query = (
        select(
            c.name,
            c.plugin,
            c.plugin_version,
            c.effect_class,
            c.timeout_ms,
            c.description,
            s.body,
            c.schema_digest,
            c.schema_error,
            c.runner_id,
            c.reported_unix_ms,
        )
        .join(input_schemas, (s.tenant_id == c.tenant_id) & (s.digest == c.schema_digest))
        .where(c.tenant_id == tenant_id)
        .order_by(c.name, c.reported_unix_ms.desc(), c.runner_id)
    )
    if runner_id is not None:
        query = query.where(c.runner_id == runner_id)
    if capability is not None:
        query = query.where(c.name == capability)
    return [
        CapabilityRecord(name, plugin, version, EffectClass(effect), *rest)
        for name, plugin, version, effect, *rest in connection.execute(query)
    ]
