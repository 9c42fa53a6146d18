"""local-http programs to the original's contract: a real Node process, started, called, killed and ended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aisops_runner.adapters.calls import Outcome
from aisops_runner.adapters.foreign.folders import Program
from aisops_runner.sidecars.foreign.found import ForeignSources
from aisops_runner.sidecars.foreign.listener import listens
from aisops_runner.sidecars.foreign.probing import free_port
from aisops_runner.sidecars.launch import on_leash
from aisops_runner.sidecars.settings import DefaultSettings
from tests.integration.runner_host.conftest import Bench, command_line, gone, until
from tests.integration.runner_host.test_foreign_stdio import odd, written

EXAMPLES = Path(__file__).parents[2] / "support" / "foreign_plugins"
NODE = shutil.which("node")
pytestmark = [pytest.mark.integration]
needs_node = pytest.mark.skipif(NODE is None, reason="Node is not on this machine")
TOKEN = "a-token-that-both-sides-know"


@pytest.fixture
def shown(bench: Bench, tmp_path: Path) -> Path:
    """The hallway plugin is configured; the file of what it showed."""
    file = tmp_path / "shown.txt"
    file.touch()
    bench.foreign = ForeignSources(programs=(Program(EXAMPLES / "hallway", "hallway"),))
    bench.settings["hallway"] = DefaultSettings(env={"HALLWAY_EFFECTS": str(file)})
    return file


async def send(bench: Bench, text: str, job_id: str = "job-1", *, timeout_s: float = 20.0) -> Outcome:
    body = json.dumps({"target": "#door", "text": text}).encode()
    return await bench.invoke("hallway.send", body, job_id=job_id, timeout_s=timeout_s)


@needs_node
async def test_a_node_program_is_started_called_and_ended(bench: Bench, shown: Path) -> None:
    fleet = await bench.start()
    assert bench.row("hallway").state == "installed", "finding it started nothing"
    outcome = await send(bench, "hello")
    assert outcome.ok, outcome
    answer = json.loads(outcome.output)["hallway"]
    assert answer["greeting"] == "hello", "the manifest's default"
    seen = set(answer["environment"])
    assert {"PORT", "AISOPSFLOW_INTERNAL_AUTH_TOKEN", "HALLWAY_EFFECTS"} <= seen
    assert not {"OTHER_SECRET", "PYTHONPATH", "AISOPS_LIFELINE"} & seen
    assert written(shown) == ["hello"]
    (token,) = bench.secrets
    assert token.encode() not in command_line(outcome.sidecar_pid)
    assert (bench.row("hallway").kind, bench.row("hallway").state) == ("local-http", "ready")
    await until(lambda: [log for log in bench.logs if "hallway listens on" in log.text])
    began = time.monotonic()
    await fleet.stop()
    assert gone(outcome.sidecar_pid)
    assert time.monotonic() - began < 2


@needs_node
async def test_its_weaknesses_are_tolerated(bench: Bench, shown: Path) -> None:
    await bench.start()
    seen = {}
    for text in ("refuse", "page", "break", "garbage"):
        error = (await send(bench, text, text)).error
        assert error is not None
        assert "/src/index.js" not in error.message
        seen[text] = (error.code, error.ambiguous)
    assert seen == {
        "refuse": ("provider_error", False),
        "page": ("plugin_error", True),
        "break": ("plugin_error", True),
        "garbage": ("bad_sidecar_answer", True),
    }
    malformed = (await bench.invoke("hallway.send", b'{"target":')).error
    assert malformed is not None
    assert (malformed.code, malformed.ambiguous) == ("invalid_request", False)
    incomplete = (await bench.invoke("hallway.send", b'{"text":"x"}')).error
    assert incomplete is not None
    assert (incomplete.code, incomplete.message) == ("invalid_request", "invalid request body")
    large = (await bench.invoke("hallway.send", json.dumps({"text": "x" * 70_000}).encode())).error
    assert large is not None
    assert (large.code, large.ambiguous) == ("body_too_large", False)
    assert not written(shown)
    assert bench.row("hallway").restarts == 0


@needs_node
async def test_killed_in_a_call_it_is_ambiguous_once_and_back_soon(bench: Bench, shown: Path) -> None:
    await bench.start()
    first = await send(bench, "up")
    waiting = asyncio.create_task(send(bench, "wait", "waits"))
    await until(lambda: "wait" in written(shown))
    os.kill(first.sidecar_pid, signal.SIGKILL)
    error = (await waiting).error
    assert error is not None
    assert (error.code, error.ambiguous) == ("sidecar_died", True)
    await until(lambda: bench.row("hallway").state == "ready")
    died = (await send(bench, "die", "dies")).error
    assert died is not None
    assert died.ambiguous
    await until(lambda: bench.row("hallway").restarts == 2)
    assert written(shown) == ["up", "wait", "die"], "nothing was made a second time"


@needs_node
async def test_a_call_that_hangs_is_an_ambiguous_timeout_and_harms_no_other(bench: Bench, shown: Path) -> None:
    await bench.start()
    await send(bench, "up")
    hangs = asyncio.create_task(send(bench, "hang", "hangs", timeout_s=1.0))
    assert (await send(bench, "beside", "beside")).ok
    error = (await hangs).error
    assert error is not None
    assert (error.code, error.ambiguous) == ("timeout", True)
    assert bench.row("hallway").state == "ready"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no port for me; exec sleep 600", "did not get ready within 1 s (last words: no port for me)"),
        ("echo cannot bind >&2; exit 1", "exited with code 1: cannot bind"),
    ],
)
async def test_one_that_never_answers_its_probe_is_gone_and_named(
    bench: Bench, tmp_path: Path, script: str, reason: str
) -> None:
    bench.foreign = odd(tmp_path, script, "local-http")
    await bench.start()
    outcome = await bench.invoke("odd.send")
    assert outcome.error is not None
    assert outcome.error.code == "plugin_quarantined"
    assert reason in bench.row("odd").reason


SQUATTER = """
import http.server, os, socket, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200); self.send_header("Content-Type", "application/json"); self.end_headers()
        self.wfile.write(b'{"ok":true}')
    def log_message(self, *a): pass
pid = os.fork()
if pid == 0:
    os.setsid()
    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
open(sys.argv[1], "w").write(str(pid) + ".")
import time; time.sleep(600)
"""


async def test_a_token_is_not_shown_to_whoever_took_the_port(bench: Bench, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    (tmp_path / "squatter.py").write_text(SQUATTER)
    bench.foreign = odd(tmp_path, f"exec {sys.executable} {tmp_path / 'squatter.py'} {pid_file}", "local-http")
    manifest = tmp_path / "odd" / "runner-plugin.yaml"
    manifest.write_text(manifest.read_text().replace("startup_timeout_seconds: 1", "startup_timeout_seconds: 20"))
    await bench.start()
    try:
        error = (await bench.invoke("odd.send")).error
        assert error is not None
        assert "is another process's" in bench.row("odd").reason
        assert not error.ambiguous
    finally:
        os.kill(int(written(pid_file)[0].removesuffix(".")), signal.SIGKILL)


def test_who_listens_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listens(os.getpid(), port) is True
        other = subprocess.Popen(["sleep", "600"], start_new_session=True)
        try:
            assert listens(other.pid, port) is False
        finally:
            other.kill()
            other.wait()
    assert listens(os.getpid(), free_port()) is None


KILLED = """
import subprocess, sys, time
child = subprocess.Popen(eval(sys.argv[1]), start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_program_without_a_lifeline_ends_with_a_killed_runner() -> None:
    """It neither reads its input nor knows the Runner."""
    words = on_leash(["/bin/sleep", "600"])
    command = f"{words[:4]!r} + [str(__import__('os').getpid())] + {words[5:]!r}"
    runner = subprocess.Popen([sys.executable, "-c", KILLED, command], stdout=subprocess.PIPE, text=True)
    try:
        assert runner.stdout is not None
        pid = int(runner.stdout.readline())
        _until(lambda: b"/bin/sleep" in command_line(pid).split(b"\0")[:1])
    finally:
        runner.kill()
        runner.wait()
        runner.stdout.close()
    _until(lambda: gone(pid))


def _until(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@needs_node
async def test_a_plugin_that_calls_core_may_be_given_the_shared_token(bench: Bench, shown: Path) -> None:
    bench.env["SHARED"] = TOKEN
    token = {"AISOPSFLOW_INTERNAL_AUTH_TOKEN": "env:SHARED"}
    bench.settings["hallway"] = DefaultSettings(env=token | {"HALLWAY_EFFECTS": str(shown)})
    await bench.start()
    assert (await send(bench, "signed with it")).ok
    assert bench.secrets == {TOKEN}
