"""A refused clone on record: an event of its Runner, the Runner's own row and the audit log; all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, bindparam, update

from aisops_core.audit.log import append
from aisops_core.audit.record import AuditEntry
from aisops_core.runners.store import INSERT_EVENT
from aisops_core.storage.hot import HotStatement
from aisops_core.storage.schema import runners

KIND: Final = "clone_refused"
ACTOR: Final = "core"
_SHOW: Final = HotStatement(
    update(runners)
    .where(runners.c.tenant_id == bindparam("b_tenant_id"), runners.c.runner_id == bindparam("b_runner_id"))
    .values(clone_refused_unix_ms=bindparam("b_at_unix_ms")),
    ("b_at_unix_ms", "b_tenant_id", "b_runner_id"),
)


def put_on_record(
    connection: Connection,
    tenant_id: str,
    runner_id: str,
    *,
    facts: Mapping[str, object],
    words: Mapping[str, str],
    now_ms: int,
) -> None:
    """Put on record that a second machine used a Runner's identity, inside a transaction.

    Args:
        connection: The transaction.
        tenant_id: Whose Runner.
        runner_id: Which.
        facts: What was seen, for programs; the audit log has these alone.
        words: The same for people; the event has both.
        now_ms: Wall clock, ms.
    """
    INSERT_EVENT.many(connection, [(tenant_id, runner_id, now_ms, KIND, json.dumps({**words, **facts}))])
    _SHOW.many(connection, [(now_ms, tenant_id, runner_id)])
    append(connection, [AuditEntry(tenant_id, ACTOR, f"runner.{KIND}", runner_id, facts)], now_ms)
