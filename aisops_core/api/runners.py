"""Runners, their capabilities, and the caller itself, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from pydantic import Field

from aisops_core.api.documents import (
    CapabilityDocument,
    CapabilityPage,
    RunnerCreated,
    RunnerDocument,
    RunnerEventDocument,
    RunnerEventPage,
    RunnerPage,
    RunnerToken,
    WhoAmI,
)
from aisops_core.api.jobs import MAX_PAGE, PAGE, Id, Labels
from aisops_core.api.operation import Body, Call, Query, Reply, op
from aisops_core.runners.record import CapabilityRecord, RunnerEvent, RunnerRecord


class Runners(Protocol):
    """What this door needs of the Runner store."""

    async def create(self, tenant_id: str, runner_id: str, labels: dict[str, str], *, actor: str) -> RunnerRecord:
        """Store a new Runner; raises AlreadyExists."""
        ...

    async def list(self, tenant_id: str) -> Sequence[RunnerRecord]:
        """Return the tenant's Runners."""
        ...

    async def get(self, tenant_id: str, runner_id: str) -> RunnerRecord:
        """Return one Runner or raise RunnerNotFound."""
        ...

    async def events(self, tenant_id: str, runner_id: str, limit: int) -> Sequence[RunnerEvent]:
        """Return a Runner's newest events or raise RunnerNotFound."""
        ...


class RunnerTokens(Protocol):
    """What this door needs of the token store."""

    async def create_runner(self, tenant_id: str, runner_id: str, *, actor: str) -> str:
        """Return a new runner token, to be shown once."""
        ...


class CreateRunnerBody(Body):
    """A Runner to be admitted."""

    runner_id: Id
    labels: Labels = Field(default_factory=dict)


class NewestQuery(Query):
    """How many of the newest."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = PAGE


class RunnerEndpoints:
    """The operations on Runners."""

    def __init__(self, runners: Runners, tokens: RunnerTokens) -> None:
        self._runners = runners
        self._tokens = tokens

    @op("POST", "/runners", role="admin", body=CreateRunnerBody, out=RunnerCreated, status=201, problems=(409,))
    async def create_runner(self, call: Call[CreateRunnerBody, None]) -> Reply:
        """Admit a Runner and return its token, this once only."""
        tenant_id, runner_id = call.principal.tenant_id, call.body.runner_id
        actor = call.principal.actor
        record = await self._runners.create(tenant_id, runner_id, call.body.labels, actor=actor)
        token = await self._tokens.create_runner(tenant_id, runner_id, actor=actor)
        document = RunnerCreated(id=runner_id, runner=RunnerDocument.of(record), token=token)
        return Reply(document, 201, {"Location": f"/api/v1/runners/{runner_id}"})

    @op("POST", "/runners/{runner_id}/tokens", role="admin", out=RunnerToken, status=201)
    async def create_runner_token(self, call: Call[None, None]) -> Reply:
        """Return a further token for a Runner, this once only; earlier ones stay valid until revoked."""
        tenant_id, runner_id = call.principal.tenant_id, call.path["runner_id"]
        token = await self._tokens.create_runner(tenant_id, runner_id, actor=call.principal.actor)
        return Reply(RunnerToken(id=runner_id, token=token), 201)

    @op("GET", "/runners", role="viewer", out=RunnerPage)
    async def list_runners(self, call: Call[None, None]) -> RunnerPage:
        """List the tenant's Runners."""
        records = await self._runners.list(call.principal.tenant_id)
        return RunnerPage(items=[RunnerDocument.of(record) for record in records], next_cursor=None)

    @op("GET", "/runners/{runner_id}", role="viewer", out=RunnerDocument)
    async def get_runner(self, call: Call[None, None]) -> RunnerDocument:
        """Show one Runner."""
        return RunnerDocument.of(await self._runners.get(call.principal.tenant_id, call.path["runner_id"]))

    @op("GET", "/runners/{runner_id}/events", role="viewer", query=NewestQuery, out=RunnerEventPage)
    async def list_runner_events(self, call: Call[None, NewestQuery]) -> RunnerEventPage:
        """List a Runner's newest events: times offline, gaps, refused clones, what its plugins went through."""
        events = await self._runners.events(call.principal.tenant_id, call.path["runner_id"], call.query.limit)
        return RunnerEventPage(items=[RunnerEventDocument.of(event) for event in events], next_cursor=None)

    @op("GET", "/capabilities", role="viewer", out=CapabilityPage)
    async def list_capabilities(self, call: Call[None, None]) -> CapabilityPage:
        """List every capability the tenant's Runners offer, with its input schema."""
        return CapabilityPage(items=catalog(await self._runners.list(call.principal.tenant_id)), next_cursor=None)

    @op("GET", "/whoami", role="viewer", out=WhoAmI)
    async def whoami(self, call: Call[None, None]) -> WhoAmI:
        """Show whose token this is."""
        principal = call.principal
        return WhoAmI(
            tenant_id=principal.tenant_id,
            name=principal.subject_id,
            role=principal.role,
            token_id=principal.token_id,
        )


def catalog(records: Sequence[RunnerRecord]) -> list[CapabilityDocument]:
    """Return one document per capability, by name, with the Runners that offer it; the newest report describes it."""
    newest: dict[str, CapabilityRecord] = {}
    offered: dict[str, list[str]] = {}
    for record in records:
        for capability in record.capabilities:
            offered.setdefault(capability.name, []).append(record.runner_id)
            known = newest.get(capability.name)
            if known is None or capability.reported_unix_ms > known.reported_unix_ms:
                newest[capability.name] = capability
    return [CapabilityDocument.of(newest[name], sorted(offered[name])) for name in sorted(newest)]
