"""The watch over credentials in use: revocation and expiry end what was opened, however they came about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy import Connection, event, update

from aisops_core.errors import Unauthenticated
from aisops_core.identity.watch import FULL_LOOK_S, CredentialWatch
from aisops_core.storage import hot as hot_statements
from aisops_core.storage.schema import tokens
from aisops_core.tenants.principal import Principal
from tests.support.core_store import TENANT, Parts, running


@pytest.fixture
async def watch(parts: Parts) -> AsyncIterator[CredentialWatch]:
    made = CredentialWatch(parts.store, parts.clock)
    yield made
    await made.stop()


async def a_runner(parts: Parts, name: str = "r", *, lives_s: float | None = None) -> tuple[str, Principal]:
    await parts.runners.create(TENANT, name)
    expires = None if lives_s is None else parts.clock.unix_ms() + round(lives_s * 1000)
    text = await parts.tokens.create_runner(TENANT, name, expires_unix_ms=expires)
    return text, await parts.tokens.authenticate(text, "runner")


def use(watch: CredentialWatch, principal: Principal, lost: list[str]) -> None:
    watch.hold(principal.token_id, principal.expires_unix_ms, lambda: lost.append(principal.subject_id))


async def test_a_revocation_by_another_process_ends_the_use_at_the_next_look(
    parts: Parts, watch: CredentialWatch
) -> None:
    lost: list[str] = []
    principals = [(await a_runner(parts, f"r{number}"))[1] for number in range(3)]
    for principal in principals:
        use(watch, principal, lost)
    await watch.look()
    assert lost == []
    async with running(parts.url, parts.clock) as elsewhere:
        await elsewhere.tokens.revoke(TENANT, principals[1].token_id)
    await watch.look()
    assert lost == ["r1"]
    await watch.look()
    assert lost == ["r1"]


async def test_a_look_reads_one_row_while_nothing_changes(
    parts: Parts, watch: CredentialWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    for number in range(5):
        use(watch, (await a_runner(parts, f"r{number}"))[1], lost)
    await watch.look()
    statements: list[str] = []
    readers = parts.store._readers

    def seen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            statements.append(statement)

    def hot(connection: Connection, sql: str) -> AbstractContextManager[Any]:
        statements.append(sql)
        return cursor(connection, sql)

    cursor = hot_statements._cursor
    monkeypatch.setattr(hot_statements, "_cursor", hot)
    event.listen(readers, "before_cursor_execute", seen)
    await watch.look()
    event.remove(readers, "before_cursor_execute", seen)
    assert len(statements) == 1
    assert "meta" in statements[0]


async def test_a_revocation_between_authentication_and_use_is_found(parts: Parts, watch: CredentialWatch) -> None:
    lost: list[str] = []
    _, principal = await a_runner(parts)
    await watch.look()
    await parts.tokens.revoke(TENANT, principal.token_id)
    await watch.look()
    use(watch, principal, lost)
    await watch.look()
    assert lost == ["r"]


async def test_a_revocation_in_this_process_is_acted_on_at_once(
    parts: Parts, watch: CredentialWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisops_core.identity.watch.LOOK_S", 3600.0)
    done = asyncio.Event()
    text, principal = await a_runner(parts)
    watch.hold(principal.token_id, None, done.set)
    parts.tokens.on_revoke(watch.hurry)
    await watch.start()
    await parts.tokens.revoke(TENANT, principal.token_id)
    async with asyncio.timeout(10):
        await done.wait()
    with pytest.raises(Unauthenticated):
        await parts.tokens.authenticate(text, "runner")


async def test_a_token_ends_with_its_time(parts: Parts, watch: CredentialWatch) -> None:
    lost: list[str] = []
    use(watch, (await a_runner(parts, "short", lives_s=60))[1], lost)
    use(watch, (await a_runner(parts, "long"))[1], lost)
    await watch.look()
    parts.clock.advance(59)
    await watch.look()
    assert lost == []
    parts.clock.advance(1)
    await watch.look()
    assert lost == ["short"]


async def test_a_row_changed_by_hand_is_found_within_a_minute(parts: Parts, watch: CredentialWatch) -> None:
    lost: list[str] = []
    _, principal = await a_runner(parts)
    use(watch, principal, lost)
    await watch.look()
    mine = (tokens.c.tenant_id == TENANT) & (tokens.c.token_id == principal.token_id)
    await parts.store.write(lambda c: c.execute(update(tokens).where(mine).values(revoked_unix_ms=1)).rowcount)
    parts.clock.advance(FULL_LOOK_S)
    await watch.look()
    assert lost == ["r"]


async def test_many_tokens_are_looked_up_together(parts: Parts) -> None:
    texts = [(await a_runner(parts, f"r{number}"))[0] for number in range(20)]
    reads: list[int] = []
    read = parts.store.read

    def counted(query: object) -> object:
        reads.append(1)
        return read(query)  # type: ignore[arg-type]

    parts.store.read = counted  # type: ignore[method-assign,assignment]
    found = await asyncio.gather(*(parts.tokens.authenticate(text, "runner") for text in texts))
    assert [principal.subject_id for principal in found] == [f"r{number}" for number in range(20)]
    assert len(reads) <= 2
    wrong = texts[0][: len("aisops_run_") + 12] + texts[1][len("aisops_run_") + 12 :]
    outcomes = await asyncio.gather(
        parts.tokens.authenticate(texts[2], "runner"),
        parts.tokens.authenticate(wrong, "runner"),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], Principal)
    assert isinstance(outcomes[1], Unauthenticated)
