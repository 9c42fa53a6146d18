"""Which tenants exist."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select

from aisops_core.clock import Clock
from aisops_core.errors import FieldError, InvalidRequest, TenantNotFound
from aisops_core.storage.engine import Store
from aisops_core.storage.schema import tenants

_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """One tenant."""

    tenant_id: str
    name: str
    created_unix_ms: int


def check_id(value: str, path: str) -> str:
    """The value, when it is a well-formed id of a tenant, a Runner or the like.

    Raises:
        InvalidRequest: It is not; `path` is the JSON pointer the error names.
    """
    if _NAME.fullmatch(value) is None:
        error = FieldError(path, "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")
        raise InvalidRequest(f"{path or 'The id'} is not a valid name.", (error,))
    return value


class TenantStore:
    """Reads and creates tenants."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def ensure(self, tenant_id: str, name: str = "") -> TenantRecord:
        """The tenant; created when it is new.

        Raises:
            InvalidRequest: The id is malformed.
            StorageUnavailable: The database could not serve.
        """
        check_id(tenant_id, "/tenant_id")
        now_ms = self._clock.unix_ms()

        def unit(connection: Connection) -> TenantRecord:
            found = find(connection, tenant_id)
            if found is None:
                connection.execute(
                    insert(tenants).values(tenant_id=tenant_id, name=name or tenant_id, created_unix_ms=now_ms)
                )
                found = TenantRecord(tenant_id, name or tenant_id, now_ms)
            return found

        return await self._store.write(unit)

    async def get(self, tenant_id: str) -> TenantRecord:
        """The tenant.

        Raises:
            TenantNotFound: There is none.
            StorageUnavailable: The database could not serve.
        """
        found = await self._store.read(lambda connection: find(connection, tenant_id))
        if found is None:
            raise TenantNotFound(tenant_id)
        return found


def find(connection: Connection, tenant_id: str) -> TenantRecord | None:
    """The tenant, inside a transaction, or None."""
    row = connection.execute(
        select(tenants.c.tenant_id, tenants.c.name, tenants.c.created_unix_ms).where(tenants.c.tenant_id == tenant_id)
    ).first()
    return None if row is None else TenantRecord(*row)
