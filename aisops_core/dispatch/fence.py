"""The fence: a write made for a session goes through only while that session is its Runner's newest."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select

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
NEWEST: Final = (
    (runners.c.tenant_id == bindparam("b_tenant_id"))
    & (runners.c.runner_id == bindparam("b_runner_id"))
    & (runners.c.session_epoch == bindparam("b_session_epoch"))
)
"""The row of a Runner whose newest session this is."""
NEWEST_NAMES: Final = ("b_tenant_id", "b_runner_id", "b_session_epoch")


def holds(connection: Connection, ref: SessionRef) -> bool:
    """Whether this is the Runner's newest session; if so, it stays so until this transaction ends."""
    return _EPOCH.first(connection, ref.tenant_id, ref.runner_id) == (ref.session_epoch,)


def hold(connection: Connection, ref: SessionRef) -> None:
    """Check the session and keep it the newest until this transaction ends.

    Raises:
        Fenced: A newer session has taken over.
    """
    if not holds(connection, ref):
        raise Fenced(ref.runner_id)
