"""The pure parts of the conformance kit: what it says beyond the codec, its judge, its memory, its reports."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_protocol import messages as m
from aisops_protocol.codec import decode_core_frame, encode_core_frame
from aisops_protocol.conformance import wire
from aisops_protocol.conformance.findings import Finding, Verdict
from aisops_protocol.conformance.ledger import Ledger
from aisops_protocol.conformance.load import Answers
from aisops_protocol.conformance.referee import Referee
from aisops_protocol.conformance.registry import Check, Rule
from aisops_protocol.conformance.report import as_json, as_junit, exit_code, row, summary
from aisops_protocol.conformance.transcript import Heard, Transcript
from aisops_protocol.errors import Code
from aisops_protocol.session import Identity

EPOCH = b"e" * 16
IDENTITY = Identity("t_default", "runner-1")
HELLO = m.Hello(1, 1, b"i" * 16, "", "1", "", "", 1, EPOCH, 1, 1, 1, b"j" * 16)
WELCOME = m.Welcome(b"s" * 16, 1, b"c" * 16, "", 1, 1, m.Ack(EPOCH, 0), max_inflight_messages=2)
FRAME = m.CoreFrame("t_default", "runner-1", (), b"s" * 16)
CANCEL_ARM, MODE_FIELD = 13, 3


# --- octets of a newer Core -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("critical", [False, True])
def test_an_unknown_message_is_one_that_this_version_does_not_know(critical: bool) -> None:
    read = decode_core_frame(wire.frame_of(FRAME, wire.unknown(5, critical=critical)))
    assert read == replace(FRAME, envelopes=(m.CoreEnvelope(None, 5, critical),))


def test_a_known_message_can_carry_a_value_that_this_version_does_not_know() -> None:
    cancel = m.JobCancel("job-1", b"l" * 16, m.CancelMode.KILL, 77)
    octets = wire.known(FRAME, cancel, 9, CANCEL_ARM, wire.enum_value(MODE_FIELD, 77))
    read = decode_core_frame(wire.frame_of(FRAME, octets))
    assert read.envelopes == (m.CoreEnvelope(replace(cancel, mode=m.CancelMode.UNSPECIFIED), 9),)


@given(st.binary(max_size=300), st.integers(1, 2**40), st.integers(0, 2**30))
def test_an_unknown_field_changes_nothing(noise: bytes, number: int, nonce: int) -> None:
    plain = replace(FRAME, envelopes=(m.CoreEnvelope(m.Ping(nonce), number),))
    more = wire.octets_field(wire.UNKNOWN_FIELD, noise) + wire.enum_value(wire.UNKNOWN_FIELD + 1, nonce)
    octets = wire.frame_of(FRAME, wire.known(FRAME, m.Ping(nonce), number, 16, more))
    assert octets != encode_core_frame(plain)
    assert decode_core_frame(octets) == plain


# --- the judge --------------------------------------------------------------------------------------------------------


def said(*envelopes: m.RunnerEnvelope, session: bytes = b"s" * 16, runner: str = "runner-1") -> m.RunnerFrame:
    return m.RunnerFrame("t_default", runner, envelopes, session)


def line(seq: int) -> m.RunnerEnvelope:
    return m.RunnerEnvelope(m.LogEvent(m.LogLevel.INFO, "x", 1), seq)


@pytest.fixture
def referee() -> Referee:
    made = Referee(IDENTITY, 0.0)
    assert made.heard(said(m.RunnerEnvelope(HELLO), session=b""), 0.0).breach is None
    made.welcomed(WELCOME, 0.0)
    return made


def test_messages_in_order_are_passed_on_once(referee: Referee) -> None:
    judged = referee.heard(said(line(1), line(2)), 1.0)
    assert (judged.breach, judged.upto_seq, len(judged.envelopes)) == (None, 2, 2)
    assert referee.heard(said(line(1)), 1.0).envelopes == ()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (said(line(2)), Code.SEQ_GAP),
        (said(line(1), runner="runner-2"), Code.IDENTITY_MISMATCH),
        (said(line(1), session=b"o" * 16), Code.IDENTITY_MISMATCH),
        (said(m.RunnerEnvelope(HELLO)), Code.UNEXPECTED_MESSAGE),
        (said(line(1), line(2), line(3)), Code.WINDOW_EXCEEDED),
        (said(line(0)), Code.UNEXPECTED_MESSAGE),
    ],
    ids=["hole", "another runner", "another session", "second Hello", "window", "wrong lane"],
)
def test_what_breaks_a_rule_is_a_breach(referee: Referee, frame: m.RunnerFrame, code: Code) -> None:
    breach = referee.heard(frame, 1.0).breach
    assert breach is not None
    assert breach.code == code


def test_the_window_opens_with_each_acknowledgement(referee: Referee) -> None:
    referee.heard(said(line(1), line(2)), 1.0)
    referee.committed(2)
    assert referee.heard(said(line(3), line(4)), 1.0).breach is None


def test_a_hello_that_brings_something_along_is_a_breach() -> None:
    frame = said(m.RunnerEnvelope(HELLO), m.RunnerEnvelope(None), session=b"")
    breach = Referee(IDENTITY, 0.0).heard(frame, 0.0).breach
    assert breach is not None
    assert breach.code == Code.UNEXPECTED_MESSAGE


# --- memory -----------------------------------------------------------------------------------------------------------


def test_the_ledger_resumes_where_it_has_committed_and_counts_results() -> None:
    ledger = Ledger()
    result = m.JobResult("job-1", b"l" * 16, 1, m.ResultStatus.SUCCEEDED)
    hello = replace(HELLO, next_seq=3)
    ledger.commit(hello, [m.RunnerEnvelope(result, 1), line(2)], 2)
    assert ledger.resume(hello).seq == 2
    assert ledger.results("job-1") == [result]
    assert ledger.results("job-2") == []


def test_a_transcript_answers_by_kind_and_field_and_says_it_in_words() -> None:
    heard = Transcript()
    beat = m.Heartbeat(1)
    done = m.JobResult("job-1", b"l" * 16, 1, m.ResultStatus.UNCERTAIN)
    heard.heard = [Heard(0.0, 1, m.RunnerEnvelope(body, seq)) for body, seq in ((beat, 0), (beat, 0), (done, 7))]
    assert heard.all(m.JobResult, job_id="job-1") == [done]
    assert heard.all(m.JobResult, job_id="job-2") == []
    assert [one.envelope.seq for one in heard.numbered()] == [7]
    assert heard.trace() == "Heartbeat ×2, JobResult 7 job-1 UNCERTAIN"
    with pytest.raises(ValueError, match="no Hello"):
        _ = heard.greeting


def test_answers_are_read_on_from_where_they_were_read_last() -> None:
    heard = Transcript()
    answers = Answers(heard)
    jobs = [m.Job(name, b"l" * 16, 1, "c", b"{}", b"h" * 32, "k", m.EffectClass.IDEMPOTENT, 1) for name in "ab"]
    done = m.JobResult("b", b"l" * 16, 1, m.ResultStatus.SUCCEEDED)
    heard.heard.append(Heard(0.0, 1, m.RunnerEnvelope(done, 1)))
    assert not answers.to(jobs)
    rejected = m.JobReject("a", b"l" * 16, 1, m.RejectReason.BUSY)
    heard.heard += [Heard(0.0, 2, m.RunnerEnvelope(body, 2 + at)) for at, body in enumerate((rejected, done))]
    assert answers.to(jobs)
    assert (answers.ended, answers.refused) == ({"b": done}, {"a": m.RejectReason.BUSY})


# --- reports ----------------------------------------------------------------------------------------------------------

CHECK = Check("job.runs", "A job is done once", Rule.JOB)
PASSED = Finding(CHECK, Verdict.PASSED, "one call", took_s=0.25)
FAILED = Finding(CHECK, Verdict.FAILED, "two <calls> \x00 & \x1b[31m", "one call", 1.5, "last words\nof it")


def test_a_failure_says_what_was_expected_what_came_and_where_the_rule_stands() -> None:
    text = row(FAILED)
    for part in ("✗ job.runs", CHECK.meaning, "expected  one call", "two <calls>", "“The life of a job”", "last words"):
        assert part in text
    assert row(PASSED).splitlines() == ["  ✓ job.runs                     0.2 s  one call"]


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([Verdict.PASSED, Verdict.SKIPPED], 0),
        ([Verdict.PASSED, Verdict.FAILED], 1),
        ([Verdict.FAILED, Verdict.BROKEN], 2),
    ],
    ids=["passed", "failed", "broken"],
)
def test_the_exit_code_is_that_of_the_worst(verdicts: list[Verdict], code: int) -> None:
    assert exit_code([Finding(CHECK, verdict, "") for verdict in verdicts]) == code


def test_json_and_junit_hold_the_same_findings() -> None:
    document = json.loads(as_json([PASSED, FAILED], "5eed"))
    assert document["totals"] == {"passed": 1, "failed": 1, "skipped": 0, "broken": 0}
    assert document["checks"][1]["rule"] == "docs/protocol.md, “The life of a job”"
    suite = ET.fromstring(as_junit([PASSED, FAILED]))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "two <calls>" in (failure.text or "")
    assert summary([PASSED, FAILED], "5eed", 2.0) == "1 passed, 1 failed in 2 s (seed 5eed)"
