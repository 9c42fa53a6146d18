"""The fence: a write made for a session goes through only while that session is its Runner's newest."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from aisops_core.dispatch.records import SessionRef
from aisops_core.errors import Fenced
from aisops_core.storage.hot import HotQuery
from aisops_core.storage.schema import runners

_EPOCH: Final = HotQuery(
    select(runners.c.session_epoch)
    .where(runners.c.tenant_id == bindparam("b_tenant_id"), runners.c.runner_id == bindparam("b_runner_id"))
    .with_for_update(),
    ("b_tenant_id", "b_runner_id"),
)


def hold(connection: Connection, ref: SessionRef) -> None:
    """Check the session and keep it the newest until this transaction ends.

    Raises:
        Fenced: A newer session has taken over.
    """
    if _EPOCH.first(connection, ref.tenant_id, ref.runner_id) != (ref.session_epoch,):
        raise Fenced(ref.runner_id)


def touch(connection: Connection, ref: SessionRef, **columns: Any) -> None:
    """Change the Runner's row on behalf of the session.

    Raises:
        Fenced: A newer session has taken over.
    """
    statement = (
        update(runners)
        .where(
            runners.c.tenant_id == ref.tenant_id,
            runners.c.runner_id == ref.runner_id,
            runners.c.session_epoch == ref.session_epoch,
        )
        .values(**columns)
    )
    if connection.execute(statement).rowcount != 1:
        raise Fenced(ref.runner_id)
