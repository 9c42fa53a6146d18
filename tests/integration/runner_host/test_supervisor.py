"""Programs that misbehave as processes: never ready, leaving early, deaf to signals, speaking another contract."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from aisops_plugin_sdk.manifest import CapabilitySpec, Manifest
from aisops_runner.adapters.calls import JobLog
from aisops_runner.clock import SystemClock
from aisops_runner.sidecars.process import SidecarSpec
from aisops_runner.sidecars.restart import RestartPolicy, State
from aisops_runner.sidecars.runfile import RunFile
from aisops_runner.sidecars.settings import SupervisorSettings
from aisops_runner.sidecars.supervisor import Supervisor
from tests.integration.runner_host.conftest import CLEAN_ENV, gone, make_call, until

pytestmark = pytest.mark.integration

SERVER = """
import http.server, json, os, signal, sys, threading, time
leaves = True
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/v1/shutdown" and leaves: threading.Timer(0.02, lambda: os._exit(0)).start()
        status, body = reply(self.path)
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = answer
    def log_message(self, *a): pass
def reply(path): return 200, {"ok": True, "result": {}}
def ready(contract=(1,), **more):
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
    s.daemon_threads = True
    line = {"aisops": 1, "ready": True, "contract": list(contract), "port": s.server_port, "pid": os.getpid()}
    print(json.dumps(line), flush=True)
    s.serve_forever()
"""
TALKS = """
print('hello')
print('{"aisops":1}')
again = '{"aisops":1,"ready":true,"contract":[1],"port":1,"pid":1}'
threading.Timer(0.05, lambda: print(again, flush=True)).start()
ready()
"""
SICK = """
def reply(path):
    return (500, {"ok": False}) if path == "/healthz" else (200, {"ok": True, "result": {}})
ready()
"""
DEAF = """
leaves = False
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def reply(path):
    return (404, {"ok": False}) if "shutdown" in path else (200, {"ok": True, "result": {}})
ready()
"""
PARENT = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def reply(path):
    if "invoke" in path: threading.Timer(0.2, lambda: os._exit(0)).start()
    return 200, {"ok": True, "result": {"child": child.pid}}
ready()
"""
Make = Callable[..., Supervisor]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Supervisor] = []
    logs: list[JobLog] = []

    def build(program: str, *, startup_timeout_s: float = 15.0, draw: float = 0.0, **settings: object) -> Supervisor:
        manifest = Manifest(
            name="odd", version="1", sdk_version="", contract=(1,), startup_timeout_s=startup_timeout_s,
            capabilities=(CapabilitySpec("odd.do", "", "idempotent", False, 5.0, {}, {}),),
        )  # fmt: skip
        spec = SidecarSpec(
            manifest=manifest, argv=[sys.executable, "-c", SERVER + program], runner_env=CLEAN_ENV, configured={},
            run_file=RunFile(tmp_path / "run" / "odd.json"), cwd=tmp_path, dry_run=False, on_log=logs.append,
            redact=lambda text: text, register_secret=lambda value: None,
        )  # fmt: skip
        supervisor = Supervisor(
            spec, SupervisorSettings(**settings), clock=SystemClock(), draw=lambda: draw, on_state=lambda *_: None
        )
        made.append(supervisor)
        return supervisor

    yield build
    for supervisor in made:
        await supervisor.stop()


async def test_a_program_in_any_language_is_served(make: Make) -> None:
    supervisor = make("ready()")
    assert (await supervisor.call(make_call("odd.do"))).ok


async def test_output_before_the_ready_line_is_a_log_and_a_second_ready_line_means_nothing(make: Make) -> None:
    supervisor = make(TALKS)
    assert (await supervisor.call(make_call("odd.do"))).ok
    await asyncio.sleep(0.1)
    assert (await supervisor.call(make_call("odd.do"))).ok


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("sys.exit('no licence')", "exited with code 1: no licence"),
        ('print(\'{"ok":false,"error":"port taken"}\'); sys.exit(1)', "port taken"),
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
        ("sys.exit(0)", "exited with code 0"),
        ("print('starting up', flush=True); time.sleep(600)", "ready within 1 s (last words: starting up)"),
        ("os.write(1, b'x' * 10_000_000); time.sleep(600)", "ready within 1 s"),
    ],
)
async def test_a_program_that_does_not_get_ready_is_named_with_its_reason_and_gone(
    make: Make, program: str, reason: str
) -> None:
    supervisor = make(program, startup_timeout_s=1.0, restart=RestartPolicy(failures=1))
    outcome = await supervisor.call(make_call("odd.do"))
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.ambiguous) == ("plugin_quarantined", False)
    assert reason in supervisor.reason
    assert supervisor.pid == 0


async def test_three_failures_quarantine_and_calls_then_fail_fast(make: Make) -> None:
    supervisor = make("sys.exit(1)")
    await supervisor.call(make_call("odd.do"))
    await until(lambda: supervisor.state is State.QUARANTINED)
    assert supervisor.restarts == 3
    outcome = await supervisor.call(make_call("odd.do"))
    assert outcome.error is not None
    assert outcome.error.code == "plugin_quarantined"
    assert 290 < outcome.error.retry_after_s <= 300


async def test_another_contract_is_incompatible_and_not_tried_again(make: Make) -> None:
    supervisor = make("ready(contract=[7])")
    outcome = await supervisor.call(make_call("odd.do"))
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.retryable) == ("incompatible", False)
    assert supervisor.state is State.INCOMPATIBLE
    assert "upgrade" in outcome.error.message


async def test_an_idle_sidecar_is_stopped_and_started_again_when_needed(make: Make) -> None:
    supervisor = make("ready()", idle_stop_s=0.1)
    first = (await supervisor.call(make_call("odd.do"))).sidecar_pid
    await until(lambda: supervisor.state is State.STOPPED)
    assert gone(first)
    second = await supervisor.call(make_call("odd.do"))
    assert second.ok
    assert second.sidecar_pid != first
    assert supervisor.restarts == 0


async def test_a_sidecar_that_stops_answering_health_checks_is_replaced(make: Make) -> None:
    supervisor = make(SICK, liveness_s=0.05, degraded_poll_s=0.05)
    first = (await supervisor.call(make_call("odd.do"))).sidecar_pid
    await until(lambda: supervisor.restarts >= 1)
    await until(lambda: gone(first))
    assert "health checks" in supervisor.reason or supervisor.pid != first


async def test_a_sidecar_deaf_to_everything_is_killed_within_its_steps(make: Make) -> None:
    # Refuses to shut down, does not look at its stdin and ignores SIGTERM.
    supervisor = make(DEAF)
    pid = (await supervisor.call(make_call("odd.do"))).sidecar_pid
    async with asyncio.timeout(8):
        await supervisor.stop()
    assert gone(pid)
    assert supervisor.state is State.STOPPED


async def test_grandchildren_that_hold_the_pipes_neither_hide_the_exit_nor_survive(make: Make) -> None:
    supervisor = make(PARENT)
    outcome = await supervisor.call(make_call("odd.do"))
    child = json.loads(outcome.output)["child"]
    await until(lambda: supervisor.restarts == 1, 5)
    await until(lambda: gone(child), 5)


async def test_calls_arriving_together_start_one_process(make: Make) -> None:
    supervisor = make("ready()")
    outcomes = await asyncio.gather(*(supervisor.call(make_call("odd.do", job_id=f"j{n}")) for n in range(12)))
    assert all(outcome.ok for outcome in outcomes)
    assert len({outcome.sidecar_pid for outcome in outcomes}) == 1


async def test_stopping_during_a_start_leaves_nothing(make: Make) -> None:
    supervisor = make("time.sleep(600)")
    call = asyncio.create_task(supervisor.call(make_call("odd.do")))
    await until(lambda: supervisor.state is State.STARTING)
    await supervisor.stop()
    outcome = await call
    assert outcome.error is not None
    assert outcome.error.code == "draining"
    assert supervisor.state is State.STOPPED
