"""The fence: a write made for a session goes through only while that session is its Runner's newest."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from aisops_core.dispatch.records import SessionRef
from aisops_core.errors import Fenced
from aisops_core.storage.schema import runners


def hold(connection: Connection, ref: SessionRef) -> None:
    """Check the session and keep it the newest until this transaction ends.

    Raises:
        Fenced: A newer session has taken over.
    """
    query = (
        select(runners.c.session_epoch)
        .where(runners.c.tenant_id == ref.tenant_id, runners.c.runner_id == ref.runner_id)
        .with_for_update()
    )
    if connection.execute(query).scalar() != ref.session_epoch:
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
