"""Jobs over HTTP: submit, follow, cancel, read back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import to_json

from aisops_core.api.documents import JobDocument, JobPage, LogDocument, LogPage, TimelineDocument, TimelinePage
from aisops_core.api.job_json import job_json
from aisops_core.api.operation import Body, Call, Header, Query, Reply, op
from aisops_core.api.standing import ExplanationDocument, beside_json
from aisops_core.dispatch.aftermath import Aftermath
from aisops_core.dispatch.explain import Explanation
from aisops_core.dispatch.job import JobRecord, JobState
from aisops_core.dispatch.records import JobFilter, LogLine, Page, SubmitJob, TimelineEntry
from aisops_core.dispatch.resolution import NOTE_CHARS, Verdict
from aisops_core.tenants.principal import Principal
from aisops_protocol import limits

MAX_WAIT_S = 60
PAGE = 50
MAX_PAGE = 200
MAX_TIMEOUT_S = limits.DURATION_MS / 1000

Id = Annotated[str, StringConstraints(pattern=f"^{limits.ID_PATTERN}$")]
Cursor = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.~=-]{1,1024}$")]
Seconds = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S, allow_inf_nan=False)]


def _label_text(text: str) -> str:
    if "\0" in text or len(text.encode()) > limits.LABEL_BYTES:
        raise ValueError(f"a label is at most {limits.LABEL_BYTES} bytes, without NUL")
    return text


Label = Annotated[str, StringConstraints(min_length=1), AfterValidator(_label_text)]
LabelValue = Annotated[str, AfterValidator(_label_text)]
Labels = Annotated[dict[Label, LabelValue], Field(max_length=limits.LABELS)]

IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    r"[\x21-\x7e]{1,255}",
    "1 to 255 visible ASCII characters; while its job is kept, the same key never makes a second one.",
)
PREFER = Header("Prefer", r"[\x20-\x7e]{1,256}", "`wait=N` answers when the job has ended, or after N seconds (to 60).")
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


class Jobs(Protocol):
    """What this door needs of the dispatcher."""

    async def submit(
        self, principal: Principal, request: SubmitJob, idempotency_key: str | None = None, wait_s: float = 0.0
    ) -> tuple[JobRecord, bool]:
        """Store one job and wait so long for its end; the flag says whether it is new."""
        ...

    async def get(self, tenant_id: str, job_id: str) -> JobRecord:
        """Return one job, or raise JobNotFound."""
        ...

    async def list(
        self, tenant_id: str, wanted: JobFilter, cursor: str | None = None, limit: int = PAGE
    ) -> Page[JobRecord]:
        """Return one page of jobs, newest first."""
        ...

    async def logs(self, tenant_id: str, job_id: str, cursor: str | None = None, limit: int = PAGE) -> Page[LogLine]:
        """Return one page of a job's log lines, oldest first."""
        ...

    async def timeline(self, tenant_id: str, job_id: str) -> tuple[TimelineEntry, ...]:
        """Return what happened to a job, oldest first."""
        ...

    async def cancel(self, principal: Principal, job_id: str) -> JobRecord:
        """Ask for a job's end."""
        ...

    async def resolve(
        self, principal: Principal, job_id: str, verdict: Verdict, note: str, attempt: int | None = None
    ) -> JobRecord:
        """Put down what an uncertain job came to."""
        ...

    async def explain(self, tenant_id: str, job_id: str) -> Explanation:
        """Say why a job is where it is."""
        ...

    async def aftermath(self, job: JobRecord) -> Aftermath:
        """Return what is kept beside a job."""
        ...

    async def wait(self, tenant_id: str, job_id: str, timeout_s: float) -> JobRecord:
        """Return the job when it has ended or the time is over."""
        ...

    def release(self) -> None:
        """Answer everybody who waits."""
        ...


class SubmitBody(Body):
    """One job to be done. Without `runner_id`, any Runner that offers the capability and carries the labels gets it."""

    capability: Id
    input: Any
    labels: Labels = Field(default_factory=dict)
    runner_id: Id | None = None
    timeout_s: Seconds | None = Field(None, description="Longest run; without it the capability's own.")
    queue_ttl_s: Seconds | None = Field(
        None, description="Longest wait for a Runner; without it Core's setting (24 h)."
    )
    priority: Annotated[int, Field(ge=-100, le=100)] = 0

    def request(self, default_ttl_s: float) -> SubmitJob:
        """Return the request for dispatch; its input is compact JSON again."""
        return SubmitJob(
            capability=self.capability,
            input=to_json(self.input),
            document=self.input,
            labels=self.labels,
            runner_id=self.runner_id,
            timeout_s=self.timeout_s,
            queue_ttl_s=self.queue_ttl_s or default_ttl_s,
            priority=self.priority,
        )


class ResolveBody(Body):
    """What an uncertain job came to, or that it shall be tried again, and why."""

    verdict: Annotated[Verdict, Field(alias="as", strict=False)]
    note: Annotated[str, StringConstraints(min_length=1, max_length=NOTE_CHARS)]
    attempt: Annotated[int, Field(ge=1)] | None = Field(
        None, description="The attempt that was looked at; a job that is at another one is left as it is."
    )


class WaitQuery(Query):
    """Long polling."""

    wait: Annotated[int, Field(ge=0, le=MAX_WAIT_S)] = Field(
        0, description="Answer when the job has ended, or after so many seconds."
    )


class PageQuery(Query):
    """Where a page begins and how long it is."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = PAGE
    cursor: Cursor | None = Field(None, description="next_cursor of the page before.")


class ListQuery(PageQuery):
    """Which jobs to list."""

    state: JobState | None = None
    capability: Id | None = None
    runner: Id | None = None


def preferred_wait_s(headers: Mapping[str, str | None]) -> int | None:
    """Return the seconds of a `Prefer: wait=N` header, at most 60; None without one."""
    found = _WAIT.search(headers.get("Prefer") or "")
    return min(int(found.group(1)), MAX_WAIT_S) if found else None


class JobEndpoints:
    """The operations on jobs. `stop` ends all waits early, so that Core can stop without cutting connections."""

    def __init__(self, jobs: Jobs, *, queue_ttl_s: float) -> None:
        self._jobs = jobs
        self._queue_ttl_s = queue_ttl_s

    def stop(self) -> None:
        """Answer every waiting caller now with the job as it is."""
        self._jobs.release()

    @op(
        "POST", "/jobs", role="operator", body=SubmitBody, out=JobDocument, status=202,
        headers=(IDEMPOTENCY_KEY, PREFER),
    )  # fmt: skip
    async def submit_job(self, call: Call[SubmitBody, None]) -> Reply:
        """Submit a job."""
        request = call.body.request(self._queue_ttl_s)
        wait_s = preferred_wait_s(call.headers)
        record, created = await self._jobs.submit(call.principal, request, call.headers["Idempotency-Key"], wait_s or 0)
        headers = {"Location": f"/api/v1/jobs/{record.job_id}"}
        if not created:
            headers["Idempotent-Replayed"] = "true"
        if wait_s is not None:
            headers["Preference-Applied"] = f"wait={wait_s}"
        return Reply(job_json(record), 200 if record.terminal else 202, headers)

    @op("GET", "/jobs", role="viewer", query=ListQuery, out=JobPage)
    async def list_jobs(self, call: Call[None, ListQuery]) -> Reply:
        """List jobs, newest first."""
        query = call.query
        wanted = JobFilter(query.state, query.capability, query.runner)
        page = await self._jobs.list(call.principal.tenant_id, wanted, query.cursor, query.limit)
        items = ",".join([job_json(job) for job in page.items])
        return Reply(f'{{"items":[{items}],"next_cursor":{json.dumps(page.next_cursor)}}}')

    @op("GET", "/jobs/{job_id}", role="viewer", query=WaitQuery, out=JobDocument)
    async def get_job(self, call: Call[None, WaitQuery]) -> Reply:
        """Show one job, at once or when it has ended."""
        record = await self._jobs.wait(call.principal.tenant_id, call.path["job_id"], call.query.wait)
        return await self._whole(record)

    async def _whole(self, record: JobRecord) -> Reply:
        """A job with what is kept beside it."""
        return Reply(job_json(record, beside_json(await self._jobs.aftermath(record))))

    @op("POST", "/jobs/{job_id}/cancel", role="operator", out=JobDocument, status=202, problems=(409,))
    async def cancel_job(self, call: Call[None, None]) -> Reply:
        """Ask for a job to be cancelled; a job that finishes first wins."""
        record = await self._jobs.cancel(call.principal, call.path["job_id"])
        return Reply(job_json(record), 200 if record.terminal else 202)

    @op("POST", "/jobs/{job_id}/resolve", role="operator", body=ResolveBody, out=JobDocument, problems=(409,))
    async def resolve_job(self, call: Call[ResolveBody, None]) -> Reply:
        """Put down what an uncertain job came to, or have it tried again."""
        job_id, body = call.path["job_id"], call.body
        job = await self._jobs.resolve(call.principal, job_id, body.verdict, body.note, body.attempt)
        return await self._whole(job)

    @op("GET", "/jobs/{job_id}/explain", role="viewer", out=ExplanationDocument)
    async def explain_job(self, call: Call[None, None]) -> ExplanationDocument:
        """Say why a job is where it is, what it waits for, and what happens next."""
        explanation = await self._jobs.explain(call.principal.tenant_id, call.path["job_id"])
        return ExplanationDocument.of(explanation)

    @op("GET", "/jobs/{job_id}/logs", role="viewer", query=PageQuery, out=LogPage)
    async def list_job_logs(self, call: Call[None, PageQuery]) -> LogPage:
        """List a job's log lines, oldest first."""
        query = call.query
        page = await self._jobs.logs(call.principal.tenant_id, call.path["job_id"], query.cursor, query.limit)
        return LogPage(items=[LogDocument.of(line) for line in page.items], next_cursor=page.next_cursor)

    @op("GET", "/jobs/{job_id}/timeline", role="viewer", out=TimelinePage)
    async def list_job_timeline(self, call: Call[None, None]) -> TimelinePage:
        """List what happened to a job, oldest first."""
        entries = await self._jobs.timeline(call.principal.tenant_id, call.path["job_id"])
        return TimelinePage(items=[TimelineDocument.of(entry) for entry in entries], next_cursor=None)
