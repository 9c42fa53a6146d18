"""Tokens, tenants, Runners and the audit log in a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select, update

from aisops_core.audit.log import append
from aisops_core.audit.record import AuditEntry
from aisops_core.errors import (
    AlreadyExists,
    InvalidRequest,
    RunnerNotFound,
    TenantNotFound,
    TokenNotFound,
    Unauthenticated,
)
from aisops_core.storage.schema import audit_records, tokens
from tests.support.core_store import OTHER_TENANT, TENANT, Parts, ScriptedRunner


async def test_an_api_token_opens_what_it_was_made_for(parts: Parts) -> None:
    text = await parts.tokens.create_api(TENANT, "ci", "operator")
    principal = await parts.tokens.authenticate(text, "api")
    assert (principal.kind, principal.tenant_id, principal.subject_id, principal.role) == (
        "api",
        TENANT,
        "ci",
        "operator",
    )
    assert text.split("_")[2] == principal.token_id


async def test_a_runner_token_opens_only_its_runners_stream(parts: Parts, runner: ScriptedRunner) -> None:
    text = await parts.tokens.create_runner(TENANT, "runner-1")
    principal = await parts.tokens.authenticate(text, "runner")
    assert (principal.tenant_id, principal.subject_id, principal.role) == (TENANT, "runner-1", "runner")
    with pytest.raises(Unauthenticated):
        await parts.tokens.authenticate(text, "api")
    api = await parts.tokens.create_api(TENANT, "root", "admin")
    with pytest.raises(Unauthenticated):
        await parts.tokens.authenticate(api, "runner")


async def test_every_wrong_token_is_refused_alike(parts: Parts) -> None:
    from aisops_core.identity.tokens import mint

    text = await parts.tokens.create_api(TENANT, "ci", "viewer")
    stranger = mint("api", lambda n: b"\x07" * n).text()
    swapped = text[:-7] + ("A" if text[-8] != "A" else "B") + text[-6:]
    messages = set()
    for wrong in ("", "x", stranger, text + "x", text.upper(), text[:-1], swapped, "é" * 40):
        with pytest.raises(Unauthenticated) as caught:
            await parts.tokens.authenticate(wrong, "api")
        messages.add(str(caught.value.diagnostics()))
    assert len(messages) == 1


async def test_a_revoked_token_is_dead_at_once_and_only_its_tenant_may_revoke(parts: Parts) -> None:
    text = await parts.tokens.create_api(TENANT, "ci", "viewer")
    token_id = (await parts.tokens.authenticate(text, "api")).token_id
    with pytest.raises(TokenNotFound):
        await parts.tokens.revoke(OTHER_TENANT, token_id)
    await parts.tokens.authenticate(text, "api")
    await parts.tokens.revoke(TENANT, token_id)
    await parts.tokens.revoke(TENANT, token_id)
    with pytest.raises(Unauthenticated):
        await parts.tokens.authenticate(text, "api")
    assert await parts.tokens.list(OTHER_TENANT) == []
    (record,) = await parts.tokens.list(TENANT)
    assert record.revoked_unix_ms is not None


async def test_an_expired_token_is_refused(parts: Parts) -> None:
    text = await parts.tokens.create_api(TENANT, "ci", "viewer", expires_unix_ms=parts.clock.unix_ms() + 1000)
    await parts.tokens.authenticate(text, "api")
    parts.clock.advance(1)
    with pytest.raises(Unauthenticated):
        await parts.tokens.authenticate(text, "api")


async def test_no_secret_is_stored_and_last_use_is_coarse(parts: Parts) -> None:
    text = await parts.tokens.create_api(TENANT, "ci", "viewer")
    secret = text.split("_", 3)[3].rpartition("_")[0]
    await parts.tokens.authenticate(text, "api")
    first = (await parts.tokens.list(TENANT))[0].last_used_unix_ms
    parts.clock.advance(60)
    await parts.tokens.authenticate(text, "api")
    assert (await parts.tokens.list(TENANT))[0].last_used_unix_ms == first
    rows = await parts.store.read(lambda c: [tuple(row) for row in c.execute(select(tokens))])
    records = await parts.store.read(lambda c: [tuple(row) for row in c.execute(select(audit_records))])
    assert secret not in str(rows)
    assert secret not in str(records)


async def test_who_may_get_tokens(parts: Parts) -> None:
    for name, role in (("a b", "admin"), ("x", "root"), ("x", "runner")):
        with pytest.raises(InvalidRequest):
            await parts.tokens.create_api(TENANT, name, role)  # type: ignore[arg-type]
    with pytest.raises(TenantNotFound):
        await parts.tokens.create_api("t_none", "ci", "admin")
    with pytest.raises(RunnerNotFound):
        await parts.tokens.create_runner(TENANT, "nobody")


async def test_runners_are_created_once_per_tenant(parts: Parts) -> None:
    await parts.runners.create(TENANT, "r", {"site": "seoul"})
    await parts.runners.create(OTHER_TENANT, "r")
    with pytest.raises(AlreadyExists):
        await parts.runners.create(TENANT, "r")
    with pytest.raises(InvalidRequest):
        await parts.runners.create(TENANT, "a/b")
    with pytest.raises(InvalidRequest):
        await parts.runners.create(TENANT, "ok", {"k": "v" * 300})
    with pytest.raises(TenantNotFound):
        await parts.runners.create("t_none", "r")
    with pytest.raises(RunnerNotFound):
        await parts.runners.get(TENANT, "nobody")
    assert [record.labels for record in await parts.runners.list(TENANT)] == [{"site": "seoul"}]


async def test_the_operators_labels_win_over_the_runners(parts: Parts) -> None:
    await parts.runners.create(TENANT, "r", {"site": "seoul"})
    liar = ScriptedRunner(parts, "r", labels=(("site", "vault"), ("gpu", "yes")))
    await liar.connect()
    assert (await parts.runners.get(TENANT, "r")).labels == {"site": "seoul", "gpu": "yes"}


async def test_audit_chains_are_per_tenant_and_show_tampering(parts: Parts) -> None:
    def recording(number: int, tenant_id: str = TENANT) -> Callable[[Connection], None]:
        entry = AuditEntry(tenant_id, "rpc", "frame.refused", f"r{number}", {"n": number})
        return lambda connection: append(connection, [entry], parts.clock.unix_ms())

    await asyncio.gather(*(parts.store.write(recording(number)) for number in range(30)))
    await parts.store.write(recording(0, OTHER_TENANT))
    records = await parts.audit.list(TENANT, limit=50)
    assert [record.seq for record in records] == list(range(1, 31))
    assert [record.seq for record in await parts.audit.list(OTHER_TENANT)] == [1]
    assert await parts.audit.verify(TENANT) is None
    mine = (audit_records.c.tenant_id == TENANT) & (audit_records.c.seq == 17)
    await parts.store.write(lambda c: c.execute(update(audit_records).where(mine).values(actor="nobody")).rowcount)
    assert await parts.audit.verify(TENANT) == 17
    assert await parts.audit.verify(OTHER_TENANT) is None
