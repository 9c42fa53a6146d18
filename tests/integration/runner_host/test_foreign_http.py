"""local-http programs and plugins at an address, to the original's contract: a real Node process, called and ended."""

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
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisops_runner.adapters.calls import Outcome
from aisops_runner.adapters.foreign.folders import Program
from aisops_runner.sidecars.foreign.found import ForeignSources, Place
from aisops_runner.sidecars.foreign.listener import listens
from aisops_runner.sidecars.foreign.probing import free_port
from aisops_runner.sidecars.launch import on_leash
from aisops_runner.sidecars.settings import DefaultSettings
from tests.integration.runner_host.conftest import CLEAN_ENV, Bench, command_line, gone, until
from tests.integration.runner_host.test_foreign_stdio import odd, written
from tests.support.vendor_plugins import install_vendor

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


# --- at an address --------------------------------------------------------------------------------------------------


class Elsewhere:
    """The hallway plugin, run by somebody else on a port of its own."""

    def __init__(self, file: Path) -> None:
        self.port = free_port()
        self.file = file
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = CLEAN_ENV | {"PORT": str(self.port), "INTERNAL_AUTH_TOKEN": TOKEN, "HALLWAY_EFFECTS": str(self.file)}
        self.process = subprocess.Popen(
            [str(NODE), str(EXAMPLES / "hallway" / "src" / "index.js")], env=env, stdout=subprocess.DEVNULL
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def place(self, **options: object) -> ForeignSources:
        return ForeignSources(places=(Place("hallway", f"http://127.0.0.1:{self.port}", "env:SHARED", **options),))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    one = Elsewhere(tmp_path / "shown.txt")
    one.file.touch()
    yield one
    one.stop()


@needs_node
async def test_a_plugin_at_an_address_is_called_and_never_ended(bench: Bench, elsewhere: Elsewhere) -> None:
    elsewhere.start()
    await until(lambda: listens(elsewhere.process.pid, elsewhere.port))
    bench.env["SHARED"] = TOKEN
    bench.foreign = elsewhere.place()
    fleet = await bench.start()
    assert [one.name for one in bench.host.capabilities()] == ["hallway.send"], "as its probe says"
    await until(lambda: bench.row("hallway").state == "ready")
    outcome = await send(bench, "from afar")
    assert outcome.ok, outcome
    assert written(elsewhere.file) == ["from afar"]
    row = bench.row("hallway")
    assert (row.kind, row.pid, row.version, row.distribution) == (
        "url", 0, "0.3.0", f"http://127.0.0.1:{elsewhere.port}",
    )  # fmt: skip
    assert TOKEN in bench.secrets
    await fleet.stop()
    assert elsewhere.process.poll() is None


@needs_node
async def test_one_that_is_away_is_asked_until_it_comes(bench: Bench, elsewhere: Elsewhere) -> None:
    bench.env["SHARED"] = TOKEN
    bench.foreign = elsewhere.place()
    await bench.start(ask_again_s=0.1)
    assert "does not answer at http://127.0.0.1" in bench.row("hallway").reason
    elsewhere.start()
    await until(lambda: bench.row("hallway").state == "ready")
    assert bench.changes
    assert (await send(bench, "at last")).ok


@needs_node
async def test_what_it_offers_may_be_told_and_it_backs_off(bench: Bench, elsewhere: Elsewhere) -> None:
    bench.env["SHARED"] = TOKEN
    bench.foreign = elsewhere.place(capabilities=("hallway.send",))
    await bench.start()
    error = (await send(bench, "nobody there")).error
    assert error is not None
    assert (error.code, error.retryable, error.ambiguous) == ("sidecar_unavailable", True, False)
    assert bench.row("hallway").state == "backoff"
    elsewhere.start()
    await until(lambda: bench.row("hallway").state == "ready")
    elsewhere.stop()
    await send(bench, "gone", "gone")  # on a connection whose end may not have been seen yet: perhaps ambiguous
    refused = (await send(bench, "still gone", "still-gone")).error
    assert refused is not None
    assert (refused.code, refused.retryable, refused.ambiguous) == ("sidecar_unreachable", True, False)
    assert not written(elsewhere.file)


@needs_node
async def test_another_token_is_refused_before_anything_is_done(bench: Bench, elsewhere: Elsewhere) -> None:
    elsewhere.start()
    await until(lambda: listens(elsewhere.process.pid, elsewhere.port))
    bench.env["SHARED"] = "another-token-than-theirs"
    bench.foreign = elsewhere.place()
    await bench.start()
    error = (await send(bench, "x")).error
    assert error is not None
    assert (error.code, error.ambiguous) == ("unauthorized", False)
    assert "its token is another" in error.message
    assert not written(elsewhere.file)


async def test_a_missing_token_is_named(bench: Bench) -> None:
    bench.foreign = ForeignSources(
        places=(Place("hallway", f"http://127.0.0.1:{free_port()}", "env:NOT_SET", ("hallway.send",)),)
    )
    await bench.start()
    await until(lambda: bench.row("hallway").state == "backoff")
    assert bench.row("hallway").reason == "token: environment variable NOT_SET is not set"


async def test_a_named_address_wins_over_a_package_of_the_same_name(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    bench.env["T"] = "x"
    bench.foreign = ForeignSources(places=(Place("good", f"http://127.0.0.1:{free_port()}", "env:T", ("good.send",)),))
    await bench.start()
    assert bench.row("good").kind == "url"
    assert [one.name for one in bench.host.capabilities()] == ["good.send"]
