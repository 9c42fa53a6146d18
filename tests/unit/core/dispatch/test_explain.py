"""What an operator is told of a job in every state: who is to act, why it waits, and what happens by when."""

from __future__ import annotations

import pytest

from aisops_core.dispatch import job as machine
from aisops_core.dispatch.aftermath import Aftermath, LateResult
from aisops_core.dispatch.explain import NAMED_RUNNERS, Explanation, Place, Standing, explained
from aisops_core.dispatch.job import JobState
from aisops_core.dispatch.lease import LeaseTerms
from aisops_core.dispatch.matching import Offer, Refusal
from aisops_core.dispatch.resolution import Resolution, Verdict
from tests.unit.core.dispatch.test_job import a_job

TERMS = LeaseTerms()
LABELS = {"site": "seoul"}
ABLE = Offer("able", ("slack.send",), LABELS, free_slots=2)
FULL = Offer("full", ("slack.send",), LABELS)
OFFLINE = Offer("offline", ("slack.send",), LABELS, free_slots=2, connected=False)
STOPPING = Offer("stopping", ("slack.send",), LABELS, free_slots=2, draining=True)
ELSEWHERE = Offer("elsewhere", ("slack.send",), {"site": "busan"}, free_slots=2)
WITHOUT = Offer("without", ("email.send",), LABELS, free_slots=2)


def told(state: str = "queued", now_ms: int = 61_000, **facts: object) -> Explanation:
    return explained(Standing(a_job(state), now_ms, **facts), TERMS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offer", "refusal", "words", "advice"),
    [
        (FULL, Refusal.NO_FREE_SLOT, "all its slots are taken", "job_slots"),
        (OFFLINE, Refusal.OFFLINE, "not connected", "aisops-runner status"),
        (STOPPING, Refusal.DRAINING, "stopping", "when it is back"),
        (ELSEWHERE, Refusal.LABELS_DIFFER, "site=seoul", "labels"),
        (WITHOUT, Refusal.NO_CAPABILITY, "slack.send", "plugin"),
    ],
)
def test_a_waiting_job_says_what_stands_in_the_way(offer: Offer, refusal: Refusal, words: str, advice: str) -> None:
    explanation = told(offers=[offer], place=Place(0))
    (finding,) = explanation.findings
    assert finding.refusal is refusal
    assert words in explanation.summary
    assert offer.runner_id in explanation.summary
    assert advice in explanation.advice
    assert "next of its queue" in explanation.summary


def test_runners_that_may_have_it_come_first_and_then_the_nearest() -> None:
    explanation = told(offers=[WITHOUT, ELSEWHERE, OFFLINE, FULL, ABLE], place=Place(3))
    assert [finding.runner_id for finding in explanation.findings] == [
        "able",
        "full",
        "offline",
        "elsewhere",
        "without",
    ]
    assert "Runner able may have it as soon as it is its turn." in explanation.summary
    assert "3 jobs for the same Runners go first" in explanation.summary
    assert explanation.advice == ""


def test_a_waiting_job_says_when_its_time_is_over() -> None:
    explanation = told(place=Place(10_000, more=True))
    assert explanation.deadline is not None
    assert (explanation.deadline.limit, explanation.deadline.at_unix_ms) == ("queue", 90_000)
    assert explanation.leads_to is JobState.TIMED_OUT
    assert "This tenant has no Runner." in explanation.summary
    assert "At least 10000 jobs" in explanation.summary
    assert "(in 29 s) it ends timed_out, because no Runner took it within its queue time." in explanation.summary
    assert explanation.owner == "core"


def test_a_job_held_back_says_for_how_long() -> None:
    standing = Standing(a_job(not_before_unix_ms=63_000), 61_000, [ABLE], Place(0))
    assert "held back for 2 s" in explained(standing, TERMS).summary


@pytest.mark.parametrize("state", ["leased", "running"])
@pytest.mark.parametrize(
    ("holder", "words"),
    [(ABLE, "is connected"), (OFFLINE, "not connected, last heard of 1 s ago"), (None, "not known any more")],
)
def test_a_job_with_a_runner_says_how_that_runner_is(state: str, holder: Offer | None, words: str) -> None:
    explanation = told(state, holder=holder, heard_unix_ms=60_000)
    assert words in explanation.summary
    assert "Runner runner-1" in explanation.summary
    assert explanation.owner == "runner"
    assert explanation.deadline is not None
    assert explanation.leads_to is JobState.QUEUED


def test_a_cancellation_without_an_answer_is_told() -> None:
    job = a_job("running")
    machine.request_cancel(job, 60_000, 120_000)
    assert "asked for it to be cancelled" in explained(Standing(job, 61_000, holder=ABLE), TERMS).summary


@pytest.mark.parametrize("state", ["succeeded", "failed", "timed_out", "cancelled"])
def test_an_ended_job_says_so_and_nobody_is_to_act(state: str) -> None:
    explanation = told(state)
    assert f"The job ended {state} on Runner runner-1 57 s ago." in explanation.summary
    assert (explanation.owner, explanation.deadline, explanation.advice) == ("nobody", None, "")


def test_an_uncertain_job_asks_for_a_person_and_shows_what_came_too_late() -> None:
    late = LateResult(60_000, "runner-1", 1, JobState.SUCCEEDED, None, "", b"{}")
    explanation = told("uncertain", aftermath=Aftermath((late,)))
    assert explanation.owner == "person"
    assert "is not known" in explanation.summary
    assert "1 result came too late to count; the last, of attempt 1 on runner-1, says succeeded." in explanation.summary
    assert "aisops job resolve job_1" in explanation.advice


def test_a_decision_is_told() -> None:
    decision = Resolution("t", "job_1", 1, Verdict.FAILED, "api:me", "not in the channel", 5_000)
    explanation = told("failed", aftermath=Aftermath((), (decision,)))
    assert "api:me resolved attempt 1 as failed: not in the channel" in explanation.summary


def test_a_thousand_runners_are_counted_and_a_hundred_named() -> None:
    offers = [Offer(f"r{number:04}", ("slack.send",), LABELS) for number in range(1_000)]
    explanation = told(offers=offers, place=Place(0))
    assert (len(explanation.findings), explanation.considered) == (NAMED_RUNNERS, 1_000)
    assert len(explanation.summary) < 1_000


@pytest.mark.parametrize(
    ("waited_ms", "words"),
    [(0, "0 s"), (61_000, "1 min 1 s"), (3_600_000, "1 h"), (90_000_000, "1 d 1 h"), (-5_000, "0 s")],
)
def test_spans_read_like_spans(waited_ms: int, words: str) -> None:
    assert f"for {words}." in told(now_ms=1_000 + waited_ms).summary
