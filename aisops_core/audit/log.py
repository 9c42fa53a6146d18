"""The append-only audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select

from aisops_core.audit.record import GENESIS, AuditEntry, AuditRecord, chain, first_broken
from aisops_core.storage.engine import Store
from aisops_core.storage.hot import HotQuery, HotStatement, Row
from aisops_core.storage.schema import audit_records, tenants

_APPEND: Final = HotStatement(insert(audit_records), AuditRecord._fields)
_VERIFY_PAGE: Final = 1_000
_LOCK: Final = HotQuery(
    select(tenants.c.tenant_id).where(tenants.c.tenant_id == bindparam("b_tenant_id")).with_for_update(),
    ("b_tenant_id",),
)
_HEAD: Final = HotQuery(
    select(audit_records.c.seq, audit_records.c.hash)
    .where(audit_records.c.tenant_id == bindparam("b_tenant_id"))
    .order_by(audit_records.c.seq.desc())
    .limit(bindparam("b_limit")),
    ("b_tenant_id", "b_limit"),
)


def append(connection: Connection, entries: Sequence[AuditEntry], at_unix_ms: int) -> None:
    """Record entries inside the transaction of what they tell about, so that neither exists without the other."""
    heads: dict[str, tuple[int, bytes]] = {}
    rows: list[Row] = []
    for entry in entries:
        if entry.tenant_id not in heads:
            heads[entry.tenant_id] = _head(connection, entry.tenant_id)
        seq, prev_hash = heads[entry.tenant_id]
        record = chain(entry, seq=seq + 1, at_unix_ms=at_unix_ms, prev_hash=prev_hash)
        heads[entry.tenant_id] = (record.seq, record.hash)
        rows.append(record)
    _APPEND.many(connection, rows)


def _head(connection: Connection, tenant_id: str) -> tuple[int, bytes]:
    # The tenant's row serves as the chain's lock where several processes write (PostgreSQL).
    if connection.dialect.name != "sqlite":  # SQLite has one writer anyway
        _LOCK.first(connection, tenant_id)
    row = _HEAD.first(connection, tenant_id, 1)
    return (0, GENESIS) if row is None else (row[0], row[1])


class AuditLog:
    """Reads the log; records are written by `append`, in the transaction of what they tell about."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, tenant_id: str, *, after_seq: int = 0, limit: int = 100) -> Sequence[AuditRecord]:
        """Records of a tenant in order, from `after_seq` + 1.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        return await self._store.read(lambda connection: _page(connection, tenant_id, after_seq, limit))

    async def verify(self, tenant_id: str) -> int | None:
        """The `seq` of the first record that breaks the chain; None when it holds from the first to the last.

        Raises:
            StorageUnavailable: The database could not serve.
        """

        def query(connection: Connection) -> int | None:
            records: list[AuditRecord] = []
            while page := _page(connection, tenant_id, records[-1].seq if records else 0, _VERIFY_PAGE):
                records += page
            return first_broken(records)

        return await self._store.read(query)


def _page(connection: Connection, tenant_id: str, after_seq: int, limit: int) -> list[AuditRecord]:
    rows = connection.execute(
        select(audit_records)
        .where(audit_records.c.tenant_id == tenant_id, audit_records.c.seq > after_seq)
        .order_by(audit_records.c.seq)
        .limit(limit)
    )
    return [AuditRecord(*row) for row in rows]
