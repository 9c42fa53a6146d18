"""Many jobs in one request: each is taken or refused on its own, all that are taken are stored together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Protocol, cast

from pydantic import Field, StringConstraints, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from aisops_core.api.documents import BatchDocument
from aisops_core.api.job_json import job_json
from aisops_core.api.jobs import IDEMPOTENCY_KEY, PREFER, SubmitBody, preferred_wait_s
from aisops_core.api.operation import Body, Call, Reply, op
from aisops_core.api.problems import Problem, from_core_error, from_validation
from aisops_core.api.room import aside
from aisops_core.dispatch.job import JobRecord
from aisops_core.dispatch.records import SubmitJob
from aisops_core.errors import CoreError
from aisops_core.tenants.principal import Principal

MAX_JOBS = 1000
MAX_BATCH_BYTES = 16 * 1024 * 1024

Refused = Problem
Taken = tuple[JobRecord, bool]


class BatchItem(SubmitBody):
    """One job of a batch."""

    idempotency_key: Annotated[str, StringConstraints(pattern=f"^{IDEMPOTENCY_KEY.pattern}$")] | None = Field(
        None, description=IDEMPOTENCY_KEY.description
    )


def _alone(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Keep what is wrong with one item in its place, so that it is refused alone."""
    try:
        return handler(value)
    except ValidationError as error:
        return from_validation(error)


class BatchBody(Body):
    """Jobs to be done. Each is refused or taken on its own."""

    jobs: Annotated[list[Annotated[BatchItem, WrapValidator(_alone)]], Field(min_length=1, max_length=MAX_JOBS)]

    def items(self) -> Sequence[BatchItem | Problem]:
        """Return the jobs that can be read, and what is wrong with each of the others, in the order sent."""
        return cast("Sequence[BatchItem | Problem]", self.jobs)


class Batches(Protocol):
    """What this door needs of the dispatcher."""

    async def submit_many(
        self, principal: Principal, wanted: Sequence[tuple[SubmitJob, str | None]], wait_s: float = 0.0
    ) -> list[Taken | CoreError]:
        """Store many jobs at once and wait so long for the end of all; a refused one has its error in its place."""
        ...


class BatchEndpoints:
    """The operation on many jobs."""

    def __init__(self, batches: Batches, *, queue_ttl_s: float) -> None:
        self._batches = batches
        self._queue_ttl_s = queue_ttl_s

    @op(
        "POST", "/jobs/batch", role="operator", body=BatchBody, out=BatchDocument, status=202, headers=(PREFER,),
        body_bytes=MAX_BATCH_BYTES,
    )  # fmt: skip
    async def submit_jobs(self, call: Call[BatchBody, None]) -> Reply:
        """Submit many jobs at once."""
        read = call.body.items()
        wanted = await aside(call.octets, lambda: self._wanted(read))
        wait_s = preferred_wait_s(call.headers)
        outcomes = await self._batches.submit_many(call.principal, wanted, wait_s or 0)
        told = iter(outcomes)
        items = [_item(next(told) if isinstance(one, BatchItem) else one) for one in read]
        ended = all(isinstance(one, CoreError) or one[0].terminal for one in outcomes)
        headers = {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}
        return Reply(f'{{"items":[{",".join(items)}]}}', 200 if ended else 202, headers)

    def _wanted(self, read: Sequence[BatchItem | Problem]) -> list[tuple[SubmitJob, str | None]]:
        return [(one.request(self._queue_ttl_s), one.idempotency_key) for one in read if isinstance(one, BatchItem)]


def _item(outcome: Taken | CoreError | Problem) -> str:
    if isinstance(outcome, tuple):
        job, created = outcome
        return f'{{"job":{job_json(job)},"created":{"true" if created else "false"},"problem":null}}'
    problem = outcome if isinstance(outcome, Problem) else from_core_error(outcome)
    return f'{{"job":null,"created":false,"problem":{json.dumps(problem.document().model_dump())}}}'
