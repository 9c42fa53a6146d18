"""The kit can fail: for each promise that the small runner breaks, the right check goes red, for the right reason."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from aisops_protocol.conformance.findings import Finding, Verdict
from aisops_protocol.conformance.registry import every
from aisops_protocol.conformance.run import examine
from aisops_protocol.conformance.station import Settings
from aisops_protocol.session import Identity
from tests.support.conformance import small_runner
from tests.support.small_runner.faults import Fault

RED: Mapping[Fault, tuple[str, str]] = {
    Fault.ACKS_IGNORED: ("ack.deletes", "oldest_unacked_seq above"),
    Fault.CANCEL_FORGOTTEN: ("cancel.overtakes", "CANCELLED"),
    Fault.CRITICAL_IGNORED: ("newer.critical", "a critical message it does not know"),
    Fault.DRAIN_IGNORED: ("drain.returns", "half-closed"),
    Fault.DUPLICATE_RUNS: ("duplicate.done", "no second call"),
    Fault.EARLY_ROWS: ("hello.alone", "no breach"),
    Fault.EFFECT_FIRST: ("crash.journal-first", "held, or told of by the outbox"),
    Fault.EPOCH_REUSED: ("epoch.new", "another queue epoch"),
    Fault.FOREIGN_NAME: ("frames.identity", "no IDENTITY_MISMATCH"),
    Fault.HASH_MISSING: ("output.chunked", "SHA-256 of the whole"),
    Fault.KEY_PER_ATTEMPT: ("crash.idempotent", "in every call"),
    Fault.LEFT_OUT_FORGOTTEN: ("held.overfull", "no call for a job that was left out"),
    Fault.LEFT_OUT_OVERCOUNTED: ("held.all-named", "held_jobs_omitted 0"),
    Fault.LEFT_OUT_UNCOUNTED: ("held.overfull", "counted in held_jobs_omitted"),
    Fault.LISTED_BY_AGE: ("held.overfull", "the job that has not ended at the head"),
    Fault.NO_UNCERTAIN: ("crash.at-most-once", "UNCERTAIN"),
    Fault.NUMBERS_RESTART: ("numbers.run-on", "next_seq above"),
    Fault.NUMBER_LEFT_OUT: ("numbers.no-holes", "no SEQ_GAP"),
    Fault.OLD_LEASE: ("lease.newest", "the newer lease"),
    Fault.OUTBOX_LOST: ("resume.outbox-kept", "messages 1 to"),
    Fault.PING_IGNORED: ("ping.answered", "answering Ping"),
    Fault.RENAMED: ("resume.repeats", "as it was"),
    Fault.RESEND_IGNORED: ("verdict.resend", "sent again"),
    Fault.RETRY_AFTER_IGNORED: ("refusal.overloaded", "no call for 4 s"),
    Fault.REWIND_IGNORED: ("rewind.honoured", "again"),
    Fault.SESSION_INVENTED: ("session-epoch.none", "last_session_epoch 0"),
    Fault.SESSION_LATE: ("session-epoch.on-disk", "after kill -9 at the first word"),
    Fault.SESSION_UNNAMED: ("session-epoch.named", "in the next Hello"),
    Fault.SILENT_END: ("goodbye.idle", "a RunnerGoodbye"),
    Fault.TWO_STREAMS: ("session.single", "no TWO_SESSIONS"),
    Fault.VERDICT_IGNORED: ("verdict.cancel", "the call dropped"),
    Fault.WINDOW_IGNORED: ("window.never-exceeded", "no WINDOW_EXCEEDED"),
}
DRIVEN_BY = {
    "window.never-exceeded": "window.messages",
    "frames.identity": "job.runs",
    "numbers.no-holes": "job.runs",
    "session.single": "slow.pauses",  # long enough for the second stream to be seen beside the first
}
"""Which scripted check brings the frames that a standing one judges."""
AT_ONCE = 6

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("conformance"), pytest.mark.timeout(180)]


async def examined(fault: Fault, slots: asyncio.Semaphore) -> dict[str, Finding]:
    """What the kit finds out about one fault."""
    red, _ = RED[fault]
    chosen = [check for check in every() if check.id in {red, DRIVEN_BY.get(red, red)}]
    async with slots:
        settings = Settings(launch=small_runner(fault), identity=Identity("t_default", "runner-1"))
        findings = await examine(settings, chosen, lambda _: None)
    return {one.check.id: one for one in findings}


@pytest.fixture(scope="module")
def found() -> dict[Fault, dict[str, Finding]]:
    """Every fault examined, several at a time: most of it is waiting for what does not come."""

    async def all_of_them() -> dict[Fault, dict[str, Finding]]:
        slots = asyncio.Semaphore(AT_ONCE)
        done = await asyncio.gather(*[examined(fault, slots) for fault in RED])
        return dict(zip(RED, done, strict=True))

    return asyncio.run(all_of_them())


def test_every_fault_has_a_check() -> None:
    assert set(RED) == set(Fault) - {Fault.NONE}


@pytest.mark.parametrize("fault", RED)
def test_the_right_check_goes_red(fault: Fault, found: dict[Fault, dict[str, Finding]]) -> None:
    check, reason = RED[fault]
    finding = found[fault][check]
    assert finding.verdict is Verdict.FAILED, finding
    assert reason in f"{finding.expected}", finding
    assert finding.seen
