"""Tokens at rest: creation, authentication, revocation. Every creation and revocation is audited in its transaction."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, bindparam, insert, select, update

from aisops_core.audit.log import append
from aisops_core.audit.record import AuditEntry
from aisops_core.clock import Clock
from aisops_core.errors import (
    FieldError,
    InvalidRequest,
    RunnerNotFound,
    StorageUnavailable,
    TenantNotFound,
    TokenNotFound,
    Unauthenticated,
)
from aisops_core.identity.tokens import PEPPER_BYTES, TokenKind, matches, mint, parse
from aisops_core.storage.engine import Store
from aisops_core.storage.gather import Gather
from aisops_core.storage.hot import HotLookup, HotStatement
from aisops_core.storage.meta import TOKENS_MARK, move_mark
from aisops_core.storage.schema import runners, tokens
from aisops_core.tenants.principal import Principal, PrincipalKind, Role
from aisops_core.tenants.store import check_id, find

API_ROLES: Final[tuple[Role, ...]] = ("admin", "operator", "viewer")
LAST_USED_GRAIN_MS: Final = 600_000
CACHE_S: Final = 2.0
CACHE_LIMIT: Final = 10_000
MARK_BYTES: Final = 16
_KINDS: Final[dict[PrincipalKind, TokenKind]] = {"api": "api", "runner": "run"}


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token without its secret. Times are wall-clock milliseconds."""

    token_id: str
    tenant_id: str
    kind: TokenKind
    subject_id: str
    role: Role
    name: str
    created_unix_ms: int
    expires_unix_ms: int | None
    revoked_unix_ms: int | None
    last_used_unix_ms: int | None


_COLUMNS: Final = tuple(tokens.c[name] for name in TokenRecord.__dataclass_fields__)
_Kept: TypeAlias = tuple[TokenRecord, bytes]
"""A token as it is kept: the record and the hash of its secret."""
_BY_ID: Final = HotLookup(lambda keys: select(*_COLUMNS, tokens.c.secret_hash).where(tokens.c.token_id.in_(keys)), ())
_TOUCH: Final = HotStatement(
    update(tokens).where(tokens.c.token_id == bindparam("b_token_id")).values(last_used_unix_ms=bindparam("b_now_ms")),
    ("b_now_ms", "b_token_id"),
)


class TokenStore:
    """Creates, checks and revokes tokens.

    Args:
        store: The database.
        clock: For expiry and audit.
        pepper: At least 32 secret octets from outside the database; without it the stored hashes are worthless.
        random_bytes: A cryptographic source.
    """

    def __init__(self, store: Store, clock: Clock, *, pepper: bytes, random_bytes: Callable[[int], bytes]) -> None:
        if len(pepper) < PEPPER_BYTES:
            raise ValueError(f"the pepper must have at least {PEPPER_BYTES} octets")
        self._store = store
        self._clock = clock
        self._pepper = pepper
        self._random_bytes = random_bytes
        self._cache: dict[str, tuple[float, TokenRecord, bytes]] = {}
        self._proven: dict[bytes, tuple[float, Principal]] = {}
        self._lookups = Gather[str, _Kept | None](self._look_up)
        self._touches = Gather[tuple[str, int], None](self._touch_together)
        self._on_revoke: Callable[[], None] | None = None

    def on_revoke(self, told: Callable[[], None]) -> None:
        """Call this after every revocation made here."""
        self._on_revoke = told

    async def create_api(
        self, tenant_id: str, name: str, role: Role, *, actor: str = "cli", expires_unix_ms: int | None = None
    ) -> str:
        """Make a token for a person or program. Returned once; only its hash is kept.

        Raises:
            InvalidRequest: The name or role is not valid.
            TenantNotFound: There is no such tenant.
            StorageUnavailable: The database could not serve.
        """
        check_id(name, "/name")
        if role not in API_ROLES:
            error = FieldError("/role", f"must be one of {', '.join(API_ROLES)}")
            raise InvalidRequest("The role is not one a token can have.", (error,))
        return await self._create("api", tenant_id, name, role=role, actor=actor, expires_unix_ms=expires_unix_ms)

    async def create_runner(
        self, tenant_id: str, runner_id: str, *, actor: str = "cli", expires_unix_ms: int | None = None
    ) -> str:
        """Make a runner token. Returned once; only its hash is kept. Earlier ones stay valid until revoked.

        Raises:
            TenantNotFound: There is no such tenant.
            RunnerNotFound: There is no such Runner.
            StorageUnavailable: The database could not serve.
        """
        return await self._create(
            "run", tenant_id, runner_id, role="runner", actor=actor, expires_unix_ms=expires_unix_ms
        )

    async def authenticate(self, text: str, kind: PrincipalKind) -> Principal:
        """Who holds this token.

        Raises:
            Unauthenticated: Malformed, unknown, of another kind, expired or revoked; which one is not told.
            StorageUnavailable: The database could not serve.
        """
        known = self.recognise(text, kind)
        if known is not None:
            return known
        token = parse(text)
        found = await self._find(token.token_id)
        now_ms = self._clock.unix_ms()
        proven = matches(token, None if found is None else found[1], self._pepper)
        if not proven or found is None or not _usable(found[0], kind, token.kind, now_ms):
            raise Unauthenticated
        record = found[0]
        await self._touch(record, now_ms)
        principal = Principal(
            kind, record.tenant_id, record.subject_id, record.role, record.token_id, record.expires_unix_ms
        )
        self._remember(text, principal, record)
        return principal

    def recognise(self, text: str, kind: PrincipalKind) -> Principal | None:
        """Who holds this token, if that was proven from a row read at most `CACHE_S` ago; None: ask `authenticate`."""
        found = self._proven.get(self._fingerprint(text))
        if found is None:
            return None
        read_at, principal = found
        fresh = self._clock.monotonic() - read_at < CACHE_S
        expires = principal.expires_unix_ms
        expired = expires is not None and expires <= self._clock.unix_ms()
        return principal if fresh and not expired and principal.kind == kind else None

    def _remember(self, text: str, principal: Principal, record: TokenRecord) -> None:
        """Keep what was proven for as long as the row it was proven from, and no longer."""
        cached = self._cache.get(principal.token_id)
        if cached is not None and cached[1] is record:
            if len(self._proven) >= CACHE_LIMIT:
                self._proven.clear()
            self._proven[self._fingerprint(text)] = (cached[0], principal)

    def _fingerprint(self, text: str) -> bytes:
        """What a token is remembered by: not the secret itself, and nothing a caller could aim at."""
        return hmac.digest(self._pepper, text.encode(errors="replace"), "sha256")

    async def revoke(self, tenant_id: str, token_id: str, *, actor: str = "cli") -> None:
        """End a token at once. Repeating it changes nothing.

        Raises:
            TokenNotFound: This tenant has no such token.
            StorageUnavailable: The database could not serve.
        """
        now_ms = self._clock.unix_ms()
        mark = self._random_bytes(MARK_BYTES)

        def unit(connection: Connection) -> None:
            own = (tokens.c.tenant_id == tenant_id) & (tokens.c.token_id == token_id)
            row = connection.execute(select(*_COLUMNS).where(own).with_for_update()).first()
            if row is None:
                raise TokenNotFound(token_id)
            if TokenRecord(*row).revoked_unix_ms is None:
                connection.execute(update(tokens).where(own).values(revoked_unix_ms=now_ms))
                append(connection, [AuditEntry(tenant_id, actor, "token.revoke", token_id)], now_ms)
                move_mark(connection, TOKENS_MARK, mark)

        await self._store.write(unit)
        self._cache.pop(token_id, None)
        self._proven.clear()
        if self._on_revoke is not None:
            self._on_revoke()

    async def list(self, tenant_id: str) -> Sequence[TokenRecord]:
        """The tenant's tokens, newest first, without secrets.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        query = select(*_COLUMNS).where(tokens.c.tenant_id == tenant_id).order_by(tokens.c.created_unix_ms.desc())
        return await self._store.read(lambda connection: [TokenRecord(*row) for row in connection.execute(query)])

    async def _create(
        self, kind: TokenKind, tenant_id: str, subject: str, *, role: Role, actor: str, expires_unix_ms: int | None
    ) -> str:
        token = mint(kind, self._random_bytes)
        now_ms = self._clock.unix_ms()
        row: dict[str, Any] = {
            "token_id": token.token_id,
            "tenant_id": tenant_id,
            "kind": kind,
            "subject_id": subject,
            "role": role,
            "name": subject,
            "secret_hash": token.hashed(self._pepper),
            "created_unix_ms": now_ms,
            "expires_unix_ms": expires_unix_ms,
        }
        detail = {"kind": kind, "subject": subject, "role": role}

        def unit(connection: Connection) -> None:
            if find(connection, tenant_id) is None:
                raise TenantNotFound(tenant_id)
            if kind == "run" and not _runner_exists(connection, tenant_id, subject):
                raise RunnerNotFound(subject)
            connection.execute(insert(tokens).values(**row))
            append(connection, [AuditEntry(tenant_id, actor, "token.create", token.token_id, detail)], now_ms)

        await self._store.write(unit)
        return token.text()

    async def _find(self, token_id: str) -> _Kept | None:
        cached = self._cache.get(token_id)
        if cached is not None and self._clock.monotonic() - cached[0] < CACHE_S:
            return cached[1], cached[2]
        kept = await self._lookups.add(token_id)
        # A Runner shows its token once a stream; only API tokens come with every request.
        if kept is not None and kept[0].kind == "api":
            if len(self._cache) >= CACHE_LIMIT:
                self._cache.clear()
            self._cache[token_id] = (self._clock.monotonic(), *kept)
        return kept

    async def _look_up(self, token_ids: Sequence[str]) -> Sequence[_Kept | None]:
        wanted = list(set(token_ids))
        rows = await self._store.read(lambda connection: list(_BY_ID.rows(connection, wanted)))
        found = {row[0]: (TokenRecord(*row[:-1]), bytes(row[-1])) for row in rows}
        return [found.get(token_id) for token_id in token_ids]

    async def _touch(self, record: TokenRecord, now_ms: int) -> None:
        """Keep `last_used` to the grain: a write now and then, not one per request; a full disk locks nobody out."""
        if record.last_used_unix_ms is not None and now_ms - record.last_used_unix_ms < LAST_USED_GRAIN_MS:
            return
        self._cache.pop(record.token_id, None)
        with contextlib.suppress(StorageUnavailable):
            await self._touches.add((record.token_id, now_ms))

    async def _touch_together(self, touched: Sequence[tuple[str, int]]) -> Sequence[None]:
        rows = [(now_ms, token_id) for token_id, now_ms in sorted(touched)]
        await self._store.write(lambda connection: _TOUCH.many(connection, rows))
        return [None] * len(touched)


def any_token(connection: Connection) -> bool:
    """Whether a token of any kind was ever made, inside a transaction."""
    return connection.execute(select(tokens.c.token_id).limit(1)).first() is not None


def _usable(record: TokenRecord, wanted: PrincipalKind, presented: TokenKind, now_ms: int) -> bool:
    right_kind = record.kind == _KINDS[wanted] == presented
    expired = record.expires_unix_ms is not None and record.expires_unix_ms <= now_ms
    return right_kind and not expired and record.revoked_unix_ms is None


def _runner_exists(connection: Connection, tenant_id: str, runner_id: str) -> bool:
    query = select(runners.c.runner_id).where(runners.c.tenant_id == tenant_id, runners.c.runner_id == runner_id)
    return connection.execute(query).first() is not None
