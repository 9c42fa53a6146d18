"""How the standing of a job looks to HTTP callers: its explanation, its late results, what was decided about it."""

from __future__ import annotations

import json

from pydantic import Field

from aisops_core.api.documents import (
    LateResultDocument,
    ResolutionDocument,
    timestamp,
)
from aisops_core.api.job_json import NOTHING_BESIDE, output_json
from aisops_core.api.operation import Document
from aisops_core.dispatch.aftermath import NOTHING, Aftermath
from aisops_core.dispatch.explain import Explanation
from aisops_core.dispatch.job import JobState
from aisops_core.dispatch.matching import Refusal


def late_results(aftermath: Aftermath) -> list[LateResultDocument]:
    """Return the documents of the results that came too late."""
    return [
        LateResultDocument(
            received_at=timestamp(late.received_unix_ms),
            runner_id=late.runner_id,
            attempt=late.attempt,
            state=late.state,
            output=json.loads(output_json(late.output)),
            error_code=late.error_code,
            error_message=late.error_message,
        )
        for late in aftermath.late
    ]


def resolutions(aftermath: Aftermath) -> list[ResolutionDocument]:
    """Return the documents of what was decided."""
    return [
        ResolutionDocument(
            at=timestamp(one.at_unix_ms), attempt=one.attempt, verdict=one.verdict.value, by=one.actor, note=one.note
        )
        for one in aftermath.resolutions
    ]


def beside_json(aftermath: Aftermath) -> str:
    """Return the part of a job's JSON text that tells of its late results and resolutions."""
    if aftermath is NOTHING:
        return NOTHING_BESIDE
    late = ",".join(one.model_dump_json() for one in late_results(aftermath))
    decided = ",".join(one.model_dump_json() for one in resolutions(aftermath))
    return f'"late_results":[{late}],"resolutions":[{decided}]'


class FindingDocument(Document):
    """One Runner, and whether it may have the job."""

    runner_id: str
    refusal: Refusal | None = Field(description="Why it may not have the job now; null when it may.")
    detail: str


class DeadlineDocument(Document):
    """The next moment at which Core acts on the job by itself."""

    at: str
    limit: str = Field(description="`queue`, `silence` or `hold`.")
    leads_to: JobState = Field(description="The state of the job after it, should nothing happen before.")
    because: str


class ExplanationDocument(Document):
    """Why a job is where it is."""

    id: str
    state: JobState
    owner: str = Field(description="Who has to do something next: `core`, `runner`, `person` or `nobody`.")
    summary: str = Field(description="For people.")
    advice: str = Field(description="What a person can do; empty when there is nothing to do.")
    attempt: int
    runner_id: str | None
    runners: list[FindingDocument] = Field(description="Those that may have it first; at most 100.")
    runners_considered: int
    ahead: int | None = Field(description="Jobs for the same Runners that go first, to 10,000; null: not queued.")
    deadline: DeadlineDocument | None = Field(description="Null once the job has ended.")
    late_results: list[LateResultDocument]
    resolutions: list[ResolutionDocument]

    @classmethod
    def of(cls, explanation: Explanation) -> ExplanationDocument:
        """Return the document of an explanation."""
        job, deadline = explanation.job, explanation.deadline
        return cls(
            id=job.job_id,
            state=job.state,
            owner=explanation.owner.value,
            summary=explanation.summary,
            advice=explanation.advice,
            attempt=job.attempt,
            runner_id=job.runner_id,
            runners=[
                FindingDocument(runner_id=found.runner_id, refusal=found.refusal, detail=found.detail)
                for found in explanation.findings
            ],
            runners_considered=explanation.considered,
            ahead=None if explanation.place is None else explanation.place.ahead,
            deadline=None
            if deadline is None or explanation.leads_to is None
            else DeadlineDocument(
                at=timestamp(deadline.at_unix_ms),
                limit=deadline.limit,
                leads_to=explanation.leads_to,
                because=deadline.words,
            ),
            late_results=late_results(explanation.aftermath),
            resolutions=resolutions(explanation.aftermath),
        )
