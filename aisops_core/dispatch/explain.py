"""Says where a job stands and what it waits for, in sentences: pure, from facts that were read before.

Which Runner may have the job is `matching.refusal`, when Core acts by itself is `deadlines.next_deadline`: nothing is
ruled on here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aisops_core.dispatch.aftermath import NOTHING, Aftermath
from aisops_core.dispatch.deadlines import OWNERS, Deadline, Owner, next_deadline
from aisops_core.dispatch.job import TRANSITIONS, JobRecord, JobState
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.matching import Finding, Offer, Refusal, demand_of, explain

NAMED_RUNNERS: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """How many jobs that the same Runners may have go first; `more` when it is at least so many."""

    ahead: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """The facts about one job at one moment (wall clock, ms).

    Attributes:
        job: The job.
        now_ms: The moment.
        offers: Every Runner of the tenant, connected or not. Empty for a job that no longer waits.
        place: Its place, while it is queued.
        holder: The offer of the Runner that has the job; None when nobody has it or the Runner is gone.
        heard_unix_ms: When that Runner was last heard of; 0 when unknown.
        aftermath: What is kept beside the job.
    """

    job: JobRecord
    now_ms: int
    offers: Sequence[Offer] = ()
    place: Place | None = None
    holder: Offer | None = None
    heard_unix_ms: int = 0
    aftermath: Aftermath = NOTHING


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is where it is.

    Attributes:
        job: The job.
        owner: Who has to do something next.
        summary: One or a few sentences.
        advice: What a person can do; may be empty.
        findings: What was found of each Runner, those that may have the job first, at most NAMED_RUNNERS.
        considered: How many Runners there are.
        place: Its place in the queue.
        deadline: When Core acts by itself, and how; None once the job has ended.
        leads_to: The state after that.
        aftermath: Late results and decisions.
    """

    job: JobRecord
    owner: Owner
    summary: str
    advice: str
    findings: tuple[Finding, ...]
    considered: int
    place: Place | None
    deadline: Deadline | None
    leads_to: JobState | None
    aftermath: Aftermath


def explained(standing: Standing, terms: LeaseTerms) -> Explanation:
    """Put the facts into words."""
    job = standing.job
    deadline = next_deadline(job, terms)
    leads_to = TRANSITIONS[job.state][deadline.event] if deadline is not None else None
    demand = demand_of(job.capability, job.labels_json, job.pinned_runner_id)
    findings = sorted(explain(demand, standing.offers), key=_nearest_first)
    words = _WORDS[job.state](standing, findings)
    if deadline is not None and leads_to is not None:
        words.append(_what_if(deadline, leads_to, standing.now_ms))
    if job.cancel_requested and not job.terminal:
        words.append("Somebody asked for it to be cancelled; the Runner has not answered yet.")
    if standing.aftermath.late:
        words.append(_late(standing.aftermath))
    return Explanation(
        job=job,
        owner=OWNERS[job.state],
        summary=" ".join(words),
        advice=_advice(standing, findings),
        findings=tuple(findings[:NAMED_RUNNERS]),
        considered=len(findings),
        place=standing.place,
        deadline=deadline,
        leads_to=leads_to,
        aftermath=standing.aftermath,
    )


_ORDER: Final = (None, *reversed(Refusal))


def _nearest_first(finding: Finding) -> tuple[int, str]:
    return _ORDER.index(finding.refusal), finding.runner_id


# --- words for each state ---------------------------------------------------------------------------------------------


def _queued(standing: Standing, findings: Sequence[Finding]) -> list[str]:
    job = standing.job
    words = [f"The job has waited in the queue for {_span(standing.now_ms - job.created_unix_ms)}."]
    if job.not_before_unix_ms > standing.now_ms:
        held_ms = job.not_before_unix_ms - standing.now_ms
        words.append(f"It is held back for {_span(held_ms)} after a Runner refused it.")
    able = [finding.runner_id for finding in findings if finding.refusal is None]
    if not findings:
        words.append("This tenant has no Runner.")
    elif able:
        words.append(f"{_names(able)} may have it as soon as it is its turn.")
    else:
        words.append(f"None of {_count(len(findings), 'Runner')} may have it now: {_reasons(findings)}.")
    if standing.place is not None:
        ahead = standing.place.ahead
        if standing.place.more:
            words.append(f"At least {ahead} jobs for the same Runners go first.")
        elif ahead:
            words.append(f"{_count(ahead, 'job')} for the same Runners {'goes' if ahead == 1 else 'go'} first.")
        else:
            words.append("It is the next of its queue.")
    return words


def _leased(standing: Standing, _findings: Sequence[Finding]) -> list[str]:
    job = standing.job
    return [
        f"Runner {job.runner_id} was given the job {_ago(job.leased_unix_ms, standing.now_ms)} and has not yet said"
        " that it is in its journal.",
        _holder(standing),
    ]


def _running(standing: Standing, _findings: Sequence[Finding]) -> list[str]:
    job = standing.job
    return [
        f"Runner {job.runner_id} has had the job in its journal since {_moment(job.started_unix_ms or 0)}"
        f" ({_ago(job.started_unix_ms, standing.now_ms)}); one run may take {_span(job.timeout_ms)}.",
        _holder(standing),
    ]


def _holder(standing: Standing) -> str:
    if standing.holder is None:
        return "That Runner is not known any more."
    if standing.holder.connected:
        return "It is connected and keeps the lease alive."
    heard = f", last heard of {_ago(standing.heard_unix_ms, standing.now_ms)}" if standing.heard_unix_ms else ""
    return f"It is not connected{heard}; it keeps the job for a while, because it may come back with the result."


def _ended(standing: Standing, _findings: Sequence[Finding]) -> list[str]:
    job = standing.job
    on = f" on Runner {job.runner_id}" if job.runner_id else ""
    words = [f"The job ended {job.state.value}{on} {_ago(job.finished_unix_ms, standing.now_ms)}."]
    if job.error_message:
        words.append(f"{job.error_code}: {job.error_message}")
    words += [
        f"{decision.actor} resolved attempt {decision.attempt} as {decision.verdict.value}: {decision.note}"
        for decision in standing.aftermath.resolutions
    ]
    return words


def _uncertain(standing: Standing, findings: Sequence[Finding]) -> list[str]:
    words = _ended(standing, findings)
    return [words[0], "Whether it happened outside is not known.", *words[1:]]


_WORDS: Final = {
    JobState.QUEUED: _queued,
    JobState.LEASED: _leased,
    JobState.RUNNING: _running,
    JobState.SUCCEEDED: _ended,
    JobState.FAILED: _ended,
    JobState.TIMED_OUT: _ended,
    JobState.CANCELLED: _ended,
    JobState.UNCERTAIN: _uncertain,
}


def _what_if(deadline: Deadline, leads_to: JobState, now_ms: int) -> str:
    when = f"at {_moment(deadline.at_unix_ms)} (in {_span(deadline.at_unix_ms - now_ms)})"
    what = "it goes back into the queue" if leads_to is JobState.QUEUED else f"it ends {leads_to.value}"
    return f"If nothing happens before, then {when} {what}, because {deadline.words}."


def _late(aftermath: Aftermath) -> str:
    last = aftermath.late[-1]
    return (
        f"{_count(len(aftermath.late), 'result')} came too late to count; the last, of attempt {last.attempt} on"
        f" {last.runner_id}, says {last.state.value}."
    )


def _advice(standing: Standing, findings: Sequence[Finding]) -> str:
    job = standing.job
    if job.state is JobState.UNCERTAIN:
        return (
            "Look at the provider, then decide:"
            f" aisops job resolve {job.job_id} --as succeeded|failed|retry --note '...'"
        )
    if job.state is not JobState.QUEUED or any(finding.refusal is None for finding in findings):
        return ""
    nearest = findings[0].refusal if findings else None
    return _QUEUE_ADVICE[nearest or Refusal.NO_CAPABILITY]


_QUEUE_ADVICE: Final = {
    Refusal.PINNED_ELSEWHERE: "The Runner the job is for does not exist. Cancel the job, or create that Runner.",
    Refusal.NO_CAPABILITY: "Install the plugin on a Runner that is meant to have it (`aisops capability list`).",
    Refusal.LABELS_DIFFER: "Give a Runner these labels, or submit the job without them.",
    Refusal.OFFLINE: "Look at the Runner: `aisops-runner status` on its machine, and the log of its last hours.",
    Refusal.DRAINING: "The Runner is being stopped. The job goes on when it is back.",
    Refusal.NO_FREE_SLOT: "Wait, or raise job_slots of the Runner, or add a Runner.",
}


# --- numbers and times for people -------------------------------------------------------------------------------------


def _reasons(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.detail for finding in findings)
    first = {finding.detail: finding.runner_id for finding in reversed(findings)}
    parts = [
        f"{first[detail]}: {detail}" if count == 1 else f"{count} Runners ({first[detail]}, ...): {detail}"
        for detail, count in counts.most_common(4)
    ]
    return "; ".join(parts)


def _names(runners: Sequence[str]) -> str:
    if len(runners) == 1:
        return f"Runner {runners[0]}"
    return f"{len(runners)} Runners ({', '.join(runners[:3])}{', ...' if len(runners) > 3 else ''})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _ago(at_ms: int | None, now_ms: int) -> str:
    return "at an unknown time" if not at_ms else f"{_span(now_ms - at_ms)} ago"


def _moment(unix_ms: int) -> str:
    return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _span(duration_ms: int) -> str:
    seconds = max(0, duration_ms) // 1000
    for size, name, below, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // below
            return f"{seconds // size} {name} {rest} {small}" if rest else f"{seconds // size} {name}"
    return f"{seconds} s"
