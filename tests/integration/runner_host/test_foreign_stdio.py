"""stdio-json programs to the original's contract, as real processes: a shell script, and Python that misbehaves."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from aisops_runner.adapters.calls import Outcome
from aisops_runner.adapters.foreign.folders import Program
from aisops_runner.sidecars.foreign.found import ForeignSources
from aisops_runner.sidecars.settings import DefaultSettings
from tests.integration.runner_host.conftest import Bench, command_line, gone, until

pytestmark = pytest.mark.integration
EXAMPLES = Path(__file__).parents[2] / "support" / "foreign_plugins"


@pytest.fixture
def notes(bench: Bench, tmp_path: Path) -> Path:
    """The notes plugin is configured; the file it writes to."""
    file = tmp_path / "notes.txt"
    file.touch()
    bench.foreign = ForeignSources(programs=(Program(EXAMPLES / "notes", "notes"),))
    bench.settings["notes"] = DefaultSettings(env={"NOTES_FILE": str(file), "NOTES_SECRET": "env:VAULT"})
    bench.env["VAULT"] = "s3cret-of-the-notes"
    return file


def written(notes: Path) -> list[str]:
    return notes.read_text().splitlines()


async def add(bench: Bench, text: str, job_id: str = "job-1", *, timeout_s: float = 20.0, **more: object) -> Outcome:
    body = json.dumps({"text": text, **more}).encode()
    return await bench.invoke("notes.add", body, job_id=job_id, timeout_s=timeout_s)


async def trouble(bench: Bench, kind: str, job_id: str = "trouble", **more: object) -> Outcome:
    return await bench.invoke("notes.trouble", json.dumps({"kind": kind, **more}).encode(), job_id=job_id)


async def test_a_shell_script_serves_calls_and_leaves_with_its_input(bench: Bench) -> None:
    bench.foreign = ForeignSources(folders=(EXAMPLES / "uptime",))
    fleet = await bench.start()
    outcome = await bench.invoke("host.uptime")
    assert outcome.ok, outcome
    assert json.loads(outcome.output)["seconds"] > 0
    assert (bench.row("uptime").kind, bench.row("uptime").state) == ("stdio-json", "ready")
    pid = outcome.sidecar_pid
    assert str(EXAMPLES / "uptime" / "run.sh").encode() in command_line(pid)
    began = time.monotonic()
    await fleet.stop()
    assert gone(pid)
    assert time.monotonic() - began < 2, "the end of its input was enough"


async def test_it_sees_what_its_manifest_lists_and_its_secrets_are_registered(bench: Bench, notes: Path) -> None:
    await bench.start()
    outcome = await add(bench, "hello")
    assert outcome.ok, outcome
    seen = set(json.loads(outcome.output)["environment"])
    assert {"NOTES_FILE", "NOTES_SECRET", "PATH", "AISOPSFLOW_INTERNAL_AUTH_TOKEN"} <= seen
    assert not {"OTHER_SECRET", "VAULT", "PYTHONPATH", "PORT", "AISOPS_LIFELINE"} & seen
    assert "s3cret-of-the-notes" in bench.secrets
    assert written(notes) == ["hello"]
    await until(lambda: [log for log in bench.logs if log.text == "notes is up" and log.source == "notes"])


async def test_answers_come_in_their_own_order(bench: Bench, notes: Path) -> None:
    await bench.start()
    await add(bench, "first")
    slow = asyncio.create_task(add(bench, "slow", "slow", delay_s=1.0))
    await until(lambda: bench.row("notes").in_flight == 1)
    assert (await add(bench, "quick", "quick")).ok
    assert not slow.done()
    assert (await slow).ok
    assert written(notes) == ["first", "quick", "slow"]


@pytest.mark.parametrize(
    ("code", "told", "ambiguous"),
    [("invalid_request", "invalid_request", False), ("runtime_error", "runtime_error", True)],
)
async def test_its_errors_keep_their_codes(bench: Bench, notes: Path, code: str, told: str, ambiguous: bool) -> None:
    await bench.start()
    error = (await trouble(bench, "error", code=code)).error
    assert error is not None
    assert (error.code, error.ambiguous, error.message) == (told, ambiguous, "as you wished")


async def test_an_input_that_is_no_json_never_leaves(bench: Bench, notes: Path) -> None:
    await bench.start()
    await add(bench, "up")
    error = (await bench.invoke("notes.add", b'{"text":')).error
    assert error is not None
    assert (error.code, error.ambiguous) == ("invalid_json", False)
    huge = (await bench.invoke("notes.add", json.dumps({"text": "x" * (1 << 20)}).encode())).error
    assert huge is not None
    assert (huge.code, huge.ambiguous) == ("body_too_large", False)
    assert (await bench.invoke("notes.add", b'{\n"text": "two lines"\n}')).ok
    assert written(notes) == ["up", "two lines"]


async def test_killed_in_a_call_each_ends_once_and_nobody_knows(bench: Bench, notes: Path) -> None:
    await bench.start()
    first = await add(bench, "up")
    waiting = [asyncio.create_task(add(bench, f"w{n}", f"w{n}", then="say nothing")) for n in range(3)]
    await until(lambda: len(written(notes)) == 4)
    os.kill(first.sidecar_pid, signal.SIGKILL)
    for outcome in await asyncio.gather(*waiting):
        assert outcome.error is not None
        assert (outcome.error.code, outcome.error.ambiguous) == ("sidecar_died", True)
    assert "SIGKILL" in bench.row("notes").reason
    await until(lambda: bench.row("notes").state == "ready")
    again = await add(bench, "back", "again")
    assert again.ok
    assert again.sidecar_pid != first.sidecar_pid
    assert len(written(notes)) == 5, "nothing was made a second time"


async def test_what_it_had_answered_before_it_left_counts(bench: Bench, notes: Path) -> None:
    await bench.start()
    outcome = await add(bench, "bye", then="answer and leave")
    assert outcome.ok, outcome


async def test_a_call_that_takes_too_long_is_ambiguous_and_its_late_answer_nobodys(bench: Bench, notes: Path) -> None:
    await bench.start()
    await add(bench, "up")
    late = await add(bench, "late", "late", delay_s=0.8, timeout_s=0.2)
    assert late.error is not None
    assert (late.error.code, late.error.ambiguous) == ("timeout", True)
    await until(lambda: written(notes) == ["up", "late"])
    assert (await add(bench, "after", "after")).ok
    assert bench.row("notes").restarts == 0


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"kind": "raw", "text": "a line of text\n"}, "a line is no JSON object"),
        ({"kind": "raw", "text": '{"id": }\n'}, "a line is no JSON object"),
        ({"kind": "flood"}, "a line is longer than 1048576 bytes"),
        ({"kind": "stranger", "times": 200}, "answers came that nobody had asked for"),
        ({"kind": "close"}, "closed its standard output"),
    ],
)
async def test_who_breaks_the_protocol_is_killed_and_says_why(
    bench: Bench, notes: Path, how: dict[str, object], reason: str
) -> None:
    await bench.start()
    first = await add(bench, "up")
    outcome = await bench.invoke("notes.trouble", json.dumps(how).encode(), job_id="trouble")
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.ambiguous) == ("sidecar_died", True)
    await until(lambda: bench.row("notes").restarts == 1)
    assert gone(first.sidecar_pid)
    assert any(reason in facts["reason"] for kind, facts in bench.events if kind == "sidecar.backoff")


async def test_a_few_answers_that_nobody_asked_for_are_only_logged(bench: Bench, notes: Path) -> None:
    await bench.start()
    assert (await trouble(bench, "stranger", times=3)).ok
    twice = await trouble(bench, "twice", "twice")
    assert json.loads(twice.output) == {"time": 1}
    assert (await add(bench, "fine")).ok
    assert bench.row("notes").restarts == 0
    await until(lambda: [log for log in bench.logs if '"nobody"' in log.text])


async def test_a_required_variable_that_is_not_set_is_named(bench: Bench, notes: Path) -> None:
    bench.settings["notes"] = DefaultSettings(prewarm=True)
    await bench.start()
    await until(lambda: bench.row("notes").state == "degraded")
    assert "required by its manifest: NOTES_FILE" in bench.row("notes").reason


# --- getting ready ----------------------------------------------------------------------------------------------------

PROGRAM = """
api_version: runner-plugin/v1
kind: RunnerPlugin
metadata: {name: odd, plugin_version: "1"}
runtime: {type: binary, entrypoint: run.sh, protocol: PROTOCOL}
capabilities: {provides: [odd.send]}
execution: {startup_timeout_seconds: 1, restart_policy: never}
"""


def odd(tmp_path: Path, script: str, protocol: str = "stdio-json") -> ForeignSources:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "runner-plugin.yaml").write_text(PROGRAM.replace("PROTOCOL", protocol))
    (folder / "run.sh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "run.sh").chmod(0o755)
    return ForeignSources(programs=(Program(folder, "odd"),))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo starting; exec sleep 600", "did not get ready within 1 s (last words: starting)"),
        ("echo no licence >&2; exit 3", "exited with code 3: no licence"),
        ("kill -9 $$", "SIGKILL"),
        ("read -r l; echo '{\"id\":\"r1\",\"ok\":false,\"error\":{\"message\":\"no database\"}}'; sleep 600",
         "answers its probe with an error: no database"),
        ("exec /no/such/program", "exited with code 127"),
        ("yes", "did not get ready within 1 s"),
        ("head -c 2000000 /dev/zero; sleep 600", "broke the stdio-json protocol: a line is longer"),
    ],
)  # fmt: skip
async def test_one_that_never_gets_ready_is_gone_and_named(
    bench: Bench, tmp_path: Path, script: str, reason: str
) -> None:
    bench.foreign = odd(tmp_path, script)
    await bench.start()
    outcome = await bench.invoke("odd.send")
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.ambiguous) == ("plugin_quarantined", False)
    assert reason in bench.row("odd").reason
    assert bench.row("odd").pid == 0


async def test_one_with_a_broken_shebang_says_so(bench: Bench, tmp_path: Path) -> None:
    bench.foreign = odd(tmp_path, "")
    (tmp_path / "odd" / "run.sh").write_text("#!/no/such/interpreter\n")
    await bench.start()
    await bench.invoke("odd.send")
    assert "cannot start" in bench.row("odd").reason


async def test_a_broken_manifest_is_a_row_and_a_name_taken_twice_is_used_by_nobody(
    bench: Bench, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        shutil.copytree(EXAMPLES / "uptime", tmp_path / "many" / name)
    (tmp_path / "many" / "c").mkdir()
    (tmp_path / "many" / "c" / "runner-plugin.yaml").write_text("kind: RunnerPlugin\n")
    bench.foreign = ForeignSources(folders=(tmp_path / "many",))
    await bench.start()
    assert bench.row("uptime").reason == (
        f"installed twice, by {tmp_path / 'many' / 'a'} and {tmp_path / 'many' / 'b'}; uninstall all but one"
    )
    assert (bench.row("c").state, bench.row("c").kind) == ("broken", "program")
    assert "c/runner-plugin.yaml: line 1: api_version: is missing" in bench.row("c").reason
    refused = await bench.invoke("host.uptime")
    assert refused.error is not None
    assert refused.error.code == "unknown_capability"
