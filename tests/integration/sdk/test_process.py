"""The sidecar as a process: ready line, protected stdout, lifeline, signals, describe."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from aisops_plugin_sdk import contracts
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.testing import FakeProvider, SidecarFailed, SidecarProcess
from tests.support.installed_plugins import install

pytestmark = pytest.mark.integration

SOURCE = """
print("printed while importing")
import asyncio, logging, os, sys, time
from pydantic import BaseModel, Field
from aisops_plugin_sdk import Config, Context, Delivery, Plugin, Secret

class Cfg(Config):
    token: Secret = Field(alias="ACME_TOKEN")

class Send(BaseModel):
    target: str
    text: str

plugin = Plugin("acme-test", config=Cfg)

@plugin.on_start
def start(ctx: Context):
    print("printed in on_start")
    logging.getLogger("vendor").warning("token %s", ctx.config.token.reveal())

@plugin.on_stop
async def stop(ctx: Context):
    ctx.logger.info("stopped in order")

@plugin.capability("acme.send", channel=True)
async def send(ctx: Context[Cfg], message: Send) -> Delivery:
    print("printed in a call")
    os.system("echo printed by a child")
    ctx.progress(0.5, "half way")
    logging.getLogger("vendor").info("vendor line")
    if message.text == "hold":
        await asyncio.sleep(0.3)
    if message.text == "forever":
        await asyncio.sleep(3600)
    if message.text == "block":
        time.sleep(3600)
    has_token = str("AISOPSFLOW_INTERNAL_AUTH_TOKEN" in os.environ)
    return Delivery(provider="acme", message_id="m", refs={"has_token": has_token, "dry_run": str(ctx.dry_run)})
"""
BODY = {"target": "#ops", "text": "hi"}
TOKEN = "hunter22hunter22"


@pytest.fixture
def acme(tmp_path):
    """The environment in which the plugin is installed and configured."""
    return {"PYTHONPATH": install(tmp_path, "acme-test", SOURCE, version="3.1"), "ACME_TOKEN": TOKEN}


def run(*arguments, env=None):
    """Run the module's command line to its end."""
    command = [sys.executable, "-m", "aisops_plugin_sdk", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


async def test_the_ready_line_is_first_and_stdout_carries_nothing_of_the_vendor(acme):
    async with SidecarProcess("acme-test", env=acme) as sidecar:
        contracts.validate(sidecar.ready, "ready-v1")
        assert sidecar.ready["pid"] == sidecar.pid
        answer = await sidecar.send(BODY)
        assert answer.result["refs"] == {"has_token": "False", "dry_run": "False"}
        assert (await sidecar.client.post("/probe", signed=False)).document["version"] == "3.1"
        half = await sidecar.line(message="half way")
        vendor = await sidecar.line(message="vendor line")
        secret = await sidecar.line(level="warning")
    assert half["progress"] == 0.5
    assert vendor["fields"] == {"logger": "vendor"}
    assert secret["message"] == "token ***"
    for line in sidecar.lines:
        contracts.validate(line, "log-v1")
    printed = sidecar.stderr
    for text in ("while importing", "in on_start", "in a call", "by a child"):
        assert f"printed {text}" in printed
    assert TOKEN not in str(sidecar.lines) + printed


async def test_log_lines_carry_their_job(acme):
    async with SidecarProcess("acme-test", env=acme) as sidecar:
        await sidecar.invoke("acme.send", BODY, job_id="job-77")
        assert (await sidecar.line(message="vendor line"))["job_id"] == "job-77"
        assert (await sidecar.line(message="half way"))["job_id"] == "job-77"


async def test_it_ends_within_two_seconds_of_the_end_of_stdin_whatever_runs(acme):
    for text in ("hi", "forever", "block"):
        async with SidecarProcess("acme-test", env=acme) as sidecar:
            call = asyncio.create_task(sidecar.send({**BODY, "text": text}))
            await sidecar.line(message="half way")
            started = time.monotonic()
            sidecar.close_stdin()
            await sidecar.wait()
            assert time.monotonic() - started < 2.5
            await asyncio.gather(call, return_exceptions=True)


async def test_sigterm_lets_a_running_call_finish_and_stops_in_order(acme):
    async with SidecarProcess("acme-test", env=acme) as sidecar:
        call = asyncio.create_task(sidecar.send({**BODY, "text": "hold"}))
        await sidecar.line(message="half way")
        sidecar.signal(signal.SIGTERM)
        assert (await call).ok
        assert await sidecar.wait() == 0
        assert await sidecar.line(message="stopped in order")


async def test_shutdown_ends_it_with_exit_code_0(acme):
    async with SidecarProcess("acme-test", env=acme) as sidecar:
        assert (await sidecar.client.post("/v1/shutdown")).status == 202
        assert await sidecar.wait() == 0


async def test_without_a_lifeline_the_end_of_stdin_means_nothing(acme):
    async with SidecarProcess("acme-test", env={**acme, "AISOPS_LIFELINE": ""}) as sidecar:
        sidecar.close_stdin()
        assert (await sidecar.send(BODY)).ok
        sidecar.signal(signal.SIGTERM)
        assert await sidecar.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX parents")
def test_it_ends_with_a_parent_that_is_killed(acme, tmp_path):
    script = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'aisops_plugin_sdk', 'serve', 'acme-test'],\n"
        "                     stdout=subprocess.PIPE)\n"
        "print(p.stdout.readline().decode(), flush=True); time.sleep(3600)\n"
    )
    env = {**os.environ, **acme, "PORT": "0"}
    command = [sys.executable, "-c", script]
    parent = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with parent:
        child = psutil.Process(json.loads(parent.stdout.readline())["pid"])
        parent.kill()
        psutil.wait_procs([child], timeout=5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


async def test_dry_run_reaches_the_function(acme):
    async with SidecarProcess("acme-test", env=acme, dry_run=True) as sidecar:
        assert (await sidecar.send(BODY)).result["refs"]["dry_run"] == "True"


async def test_it_starts_without_configuration(acme):
    async with SidecarProcess("acme-test", env={**acme, "ACME_TOKEN": ""}) as sidecar:
        assert (await sidecar.client.post("/probe", signed=False)).ok
        assert (await sidecar.send(BODY)).code == "not_configured"


def test_a_taken_port_is_one_json_line_and_exit_code_1(acme):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("serve", "acme-test", env={**acme, "PORT": str(taken.getsockname()[1])})
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "port_in_use"


def test_describe_prints_one_json_line_and_needs_no_configuration(acme):
    done = run("describe", "acme-test", env={"PYTHONPATH": acme["PYTHONPATH"], "ACME_TOKEN": ""})
    assert done.returncode == 0
    manifest = Manifest.parse(json.loads(done.stdout))
    assert (manifest.name, manifest.version, manifest.channel) == ("acme-test", "3.1", "acme.send")
    assert "printed while importing" in done.stderr


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("raise ImportError('no such library')", "import_failed"),
        ("import sys; sys.exit(0)", "import_failed"),
        ("raise AssertionError", "import_failed"),
        ("def broken(:", "import_failed"),
        ("plugin = 5", "not_a_plugin"),
        ("other = 5", "import_failed"),
        ("from aisops_plugin_sdk import Plugin\nplugin = Plugin('another')", "name_mismatch"),
        ("from aisops_plugin_sdk import Plugin\nplugin = Plugin('broken')", "invalid_plugin"),
        ("from aisops_plugin_sdk import Plugin\nplugin = Plugin('BAD')", "invalid_plugin"),
    ],
)
@pytest.mark.parametrize("command", ["describe", "serve"])
def test_a_plugin_that_cannot_be_loaded_is_one_json_line_and_exit_code_1(tmp_path, command, source, code):
    done = run(command, "broken", env={"PYTHONPATH": install(tmp_path, "broken", source)})
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert (document["ok"], document["code"]) == (False, code)
    assert document["error"]


def test_a_name_exported_twice_is_refused(tmp_path):
    install(tmp_path, "twice", SOURCE)
    install(tmp_path, "twice", SOURCE, distribution="other-dist")
    done = run("describe", "twice", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "duplicate_plugin"


def test_only_the_named_plugin_is_imported(tmp_path, acme):
    install(tmp_path, "bomb", "import os; os._exit(9)")
    assert run("describe", "acme-test", env=acme).returncode == 0
    assert run("describe", "no-such", env=acme).returncode == 1


@pytest.mark.parametrize("arguments", [(), ("serve",), ("dance", "x"), ("serve", "a", "b")])
def test_wrong_usage_is_exit_code_2(arguments):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage" in done.stderr


def test_importing_the_face_imports_nothing_heavy():
    heavy = ("aiohttp", "jsonschema", "click", "pytest")
    code = f"import sys, aisops_plugin_sdk; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_serving_imports_neither_jsonschema_nor_click_nor_pytest(tmp_path):
    source = SOURCE.replace(
        'print("printed in a call")',
        'raise RuntimeError(str([m for m in ("jsonschema","click","pytest") if m in sys.modules]))',
    )
    env = {"PYTHONPATH": install(tmp_path, "acme-test", source), "ACME_TOKEN": TOKEN}

    async def ask():
        async with SidecarProcess("acme-test", env=env) as sidecar:
            await sidecar.send(BODY)
            return await sidecar.line(level="error")

    assert "RuntimeError: []" in asyncio.run(ask())["message"]


async def test_a_process_that_does_not_become_ready_is_explained(tmp_path):
    env = {"PYTHONPATH": install(tmp_path, "broken", "raise ImportError('no such library')")}
    with pytest.raises(SidecarFailed, match="no such library"):
        async with SidecarProcess("broken", env=env):
            pass


async def test_the_fake_provider_plays_its_script(fake_provider):
    import aiohttp

    provider: FakeProvider = fake_provider
    provider.answer("/a", {"n": 1}).rate_limit("/a", 3).drop("/a").half("/a").hang("/a").always(
        "/a", b"raw", status=201
    )
    url = f"{provider.url}/a"
    async with aiohttp.ClientSession() as http:
        async with http.post(url, json={"x": "한글"}, params={"q": "1"}) as first:
            assert (first.status, await first.json()) == (200, {"n": 1})
        async with http.post(url, data={"f": "v"}) as limited:
            assert (limited.status, limited.headers["Retry-After"]) == (429, "3")
        with pytest.raises(aiohttp.ClientError):
            await http.post(url)
        with pytest.raises(aiohttp.ClientError):
            async with http.post(url) as half:
                await half.read()
        with pytest.raises(TimeoutError):
            await http.post(url, timeout=aiohttp.ClientTimeout(total=0.05))
        async with http.get(url) as rest:
            assert (rest.status, await rest.read()) == (201, b"raw")
        async with http.get(provider.url + "/other") as other:
            assert other.status == 404
    received = await provider.received(7)
    assert (received[0].json, received[0].query, received[1].form) == ({"x": "한글"}, {"q": "1"}, {"f": "v"})
    assert len(provider.to("/a")) == 6
