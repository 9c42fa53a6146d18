"""What is done beside a running Core: migrations, tokens, and what a first start needs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from aisops_core.app.data_folder import PEPPER_NAME, make_private, read_pepper
from aisops_core.audit.log import AuditLog
from aisops_core.clock import Clock, SystemClock
from aisops_core.config import CoreConfig
from aisops_core.identity.store import TokenStore, any_token
from aisops_core.storage import migrate
from aisops_core.storage.engine import Store
from aisops_core.tenants.principal import Role
from aisops_core.tenants.store import TenantStore

DEFAULT_TENANT = "t_default"


@dataclass(frozen=True, slots=True)
class Administration:
    """The parts that administration uses."""

    store: Store
    tenants: TenantStore
    tokens: TokenStore
    audit: AuditLog

    async def create_api_token(self, tenant_id: str, name: str, role: str) -> str:
        """Make an API token for `name` and return it, this once. Raises InvalidRequest for an unknown role."""
        return await self.tokens.create_api(tenant_id, name, cast("Role", role))

    async def first_admin_token(self) -> str | None:
        """Make the default tenant and, when no API token was ever made in it, the admin token, which is returned."""
        await self.tenants.ensure(DEFAULT_TENANT)
        if any(record.kind == "api" for record in await self.tokens.list(DEFAULT_TENANT)):
            return None
        return await self.create_api_token(DEFAULT_TENANT, "admin", "admin")


def prepare(config: CoreConfig) -> None:
    """Make the folders the database and the key are in. Raises ConfigError."""
    make_private(config.data_dir)


def upgrade_database(config: CoreConfig) -> migrate.Upgrade:
    """Bring the database to this version's schema. Blocking. Raises ConfigError or Unavailable."""
    prepare(config)
    return migrate.upgrade(config.database_url)


def pepper_path(config: CoreConfig) -> Path:
    """Return the file of the key that hashes tokens: Cores that share a database must share it."""
    return config.pepper_file or config.data_dir / PEPPER_NAME


@asynccontextmanager
async def administer(
    config: CoreConfig,
    *,
    clock: Clock | None = None,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> AsyncIterator[Administration]:
    """Open the database, at this version's schema, with the stores that administration uses.

    Raises ConfigError when the data folder or the key of the tokens cannot be used, Unavailable when the database
    cannot serve.
    """
    await asyncio.to_thread(upgrade_database, config)
    clock = clock or SystemClock()
    store = Store(config.database_url)
    await store.open()
    try:
        fresh = not await store.read(any_token)
        pepper = await asyncio.to_thread(partial(read_pepper, pepper_path(config), random_bytes, draw=fresh))
        tokens = TokenStore(store, clock, pepper=pepper, random_bytes=random_bytes)
        yield Administration(store, TenantStore(store, clock), tokens, AuditLog(store))
    finally:
        await store.close()
