"""A second implementation passes, started by the kit or already running; what cannot be judged is said."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from aisops_protocol.conformance.findings import Finding, Verdict
from aisops_protocol.conformance.process import Launch, RunnerProcess, placeholders
from aisops_protocol.conformance.pulse import Pulse
from aisops_protocol.conformance.registry import Check, Need, every
from aisops_protocol.conformance.report import exit_code, table
from aisops_protocol.conformance.run import examine
from aisops_protocol.conformance.station import Settings
from aisops_protocol.session import Identity
from tests.support.conformance import small_runner

WAITING = {"refusal.unauthenticated", "refusal.revoked", "silence.noticed", "offline.told"}
"""Minutes of waiting; `test_our_runner` has them."""
IDENTITY = Identity("t_default", "runner-1")

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("conformance"), pytest.mark.timeout(180)]


def quick() -> list[Check]:
    return [check for check in every() if check.id not in WAITING]


async def test_a_foreign_runner_passes() -> None:
    settings = Settings(launch=small_runner(), identity=IDENTITY, patience=2.0)
    findings = await examine(settings, quick(), lambda _: None)
    assert {one.verdict for one in findings} == {Verdict.PASSED}, table(findings)


async def test_a_runner_that_runs_already_passes_and_what_needs_a_kill_is_skipped(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    values = placeholders(
        folder=tmp_path, host="127.0.0.1", port=port, tls=False, tenant="t_default", runner="runner-1", token="tok",
        ca=None,
    )  # fmt: skip
    process = RunnerProcess(small_runner(), values, tmp_path, Pulse())
    await process.start()
    try:
        settings = Settings(launch=None, identity=IDENTITY, listen=f"127.0.0.1:{port}", token="tok", patience=2.0)
        subjects = {"hello", "ack", "crash", "duplicate", "cancel", "numbers", "core-epoch", "drain", "output", "held",
                    "session-epoch"}  # fmt: skip
        chosen = [check for check in quick() if check.id.split(".")[0] in subjects and check.id != "hello.timeout"]
        findings = await examine(settings, chosen, lambda _: None)
    finally:
        await process.end()
    for one in findings:
        wanted = Verdict.SKIPPED if Need.KILL in one.check.needs else Verdict.PASSED
        assert one.verdict is wanted, table(findings)


async def test_a_runner_that_takes_fewer_jobs_than_a_hello_lists_is_not_judged_by_a_full_one() -> None:
    chosen = [check for check in every() if check.id == "held.overfull"]
    settings = Settings(launch=small_runner(holds=50), identity=IDENTITY, patience=2.0)
    (finding,) = await examine(settings, chosen, lambda _: None)
    assert finding.verdict is Verdict.SKIPPED
    assert finding.seen == "the runner holds no more than 50 ended jobs (BUSY)"


async def examined(launch: Launch) -> list[Finding]:
    settings = Settings(launch=launch, identity=IDENTITY, patience=0.2)
    return await examine(settings, [check for check in every() if check.id.startswith("hello.")], lambda _: None)


async def test_a_command_that_does_not_start_is_one_failure_and_no_traceback() -> None:
    findings = await examined(Launch("/no/such/program"))
    assert [one.verdict for one in findings] == [Verdict.FAILED, *[Verdict.SKIPPED] * (len(findings) - 1)]
    assert "No such file" in findings[0].seen
    assert exit_code(findings) == 1


async def test_a_program_that_never_calls_fails_with_its_last_words() -> None:
    findings = await examined(Launch("sh -c 'echo I am no runner; exec sleep 60'"))
    assert findings[0].verdict is Verdict.FAILED
    assert "a stream from the runner" in findings[0].expected
    assert "I am no runner" in findings[0].output


async def test_a_client_that_speaks_something_else_is_a_breach_not_a_crash(tmp_path: Path) -> None:
    program = tmp_path / "babble.py"
    program.write_text(BABBLE, encoding="utf-8")
    findings = await examined(Launch(f"{sys.executable} {program} {{port}}"))
    assert findings[0].verdict is Verdict.FAILED
    assert "INVALID" in findings[0].seen


BABBLE = """
import sys, time, grpc
call = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}").stream_stream("/aisopsflow.core.runner.v1.CoreRunner/Connect")
for _ in call(iter([b"\\xff\\xff\\xff"])):
    pass
time.sleep(60)
"""


def test_an_address_that_cannot_be_had_is_one_line() -> None:
    words = ["--attach", "--effects", "192.0.2.1:1", "--only", "hello.first"]
    done = subprocess.run(
        [sys.executable, "-m", "aisops_protocol.conformance", *words], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
