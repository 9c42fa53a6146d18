"""The README's plugin is complete and works; `aisops-plugin check` finds what is wrong and nothing else."""

import json
import os
import re
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

import aisops_plugin_sdk
from aisops_plugin_sdk import signing
from aisops_plugin_sdk.testing import FakeProvider, PluginTest
from tests.support.installed_plugins import install

pytestmark = pytest.mark.integration

README = (Path(aisops_plugin_sdk.__file__).parent / "README.md").read_text(encoding="utf-8")
PLUGIN, TEST = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def acme_chat(monkeypatch):
    """The README's plugin as the module it says it is."""
    module = types.ModuleType("acme_chat")
    monkeypatch.setitem(sys.modules, "acme_chat", module)
    exec(compile(PLUGIN, "README.md", "exec"), module.__dict__)
    return module


def check(*arguments, **env):
    """Run `aisops-plugin`."""
    command = [sys.executable, "-c", "from aisops_plugin_sdk.cli import main; main()", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_plugin_fits_in_30_lines():
    assert len(PLUGIN.splitlines()) <= 30


async def test_the_plugin_delivers_and_tells_faults_apart(acme_chat):
    async with FakeProvider() as acme:
        acme.answer("/messages", {"id": "m-1"}, status=201).rate_limit("/messages", 7).answer("/messages", status=500)
        env = {"ACME_TOKEN": "t0ken", "ACME_URL": acme.url}
        async with PluginTest(acme_chat.plugin, env=env) as sidecar:
            answers = [await sidecar.send({"target": "#ops", "text": "deployment failed"}) for _ in range(3)]
            assert (await sidecar.send({"target": "#ops"})).status == 400
    assert answers[0].result["message_id"] == "m-1"
    assert (answers[1].code, answers[1].retry_after_ms) == ("rate_limited", 7000)
    assert (answers[2].code, answers[2].ambiguous) == ("http_500", True)
    assert acme.requests[0].json == {"target": "#ops", "text": "deployment failed"}
    assert acme.requests[0].headers["Authorization"] == "Bearer t0ken"


async def test_the_readmes_own_test_passes(acme_chat):
    names = {}
    exec(compile(TEST, "README.md", "exec"), names)
    await names["test_a_dropped_connection_is_ambiguous"]()


def test_the_readmes_way_of_signing_by_hand_works():
    line = next(line for line in README.splitlines() if line.startswith("$ python -c"))
    code = re.search(r"python -c '(.*)' \"\$body\"", line)[1]
    body = '{"target":"#ops","text":"hello"}'
    printed = subprocess.run([sys.executable, "-c", code, body], capture_output=True, text=True, check=True).stdout
    sent = dict(item.split(": ", 1) for item in printed.splitlines())
    signing.Verifier("dev").verify(sent.items(), now=time.time(), method="POST", raw_target="/send", body=body.encode())


def test_check_passes_for_the_readmes_plugin(tmp_path):
    done = check("check", "acme-chat", PYTHONPATH=install(tmp_path, "acme-chat", PLUGIN), ACME_TOKEN="t0ken-value")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 passed" in done.stdout
    assert "t0ken-value" not in done.stdout + done.stderr


def test_check_finds_a_plugin_that_sends_in_dry_run_mode_or_shows_its_secret(tmp_path):
    source = PLUGIN.replace("    if ctx.dry_run:", '    print(ctx.config.token.reveal())\n    if ctx.dry_run == "no":')
    source = source.replace("https://chat.acme.example", "http://127.0.0.1:1")
    env = {"PYTHONPATH": install(tmp_path, "acme-chat", source), "ACME_TOKEN": "t0ken-value"}
    done = check("check", "acme-chat", "--json", **env)
    document = json.loads(done.stdout)
    failed = {item["behaviour"] for item in document["findings"] if item["outcome"] == "failed"}
    assert (done.returncode, document["ok"], failed) == (1, False, {"2", "9", "11"})


def test_check_skips_the_channel_for_a_plugin_without_one(tmp_path):
    source = PLUGIN.replace("channel=True, ", "")
    done = check("check", "acme-chat", PYTHONPATH=install(tmp_path, "acme-chat", source), ACME_TOKEN="t0ken-value")
    assert done.returncode == 0, done.stdout
    assert "11 passed, 2 skipped" in done.stdout


def test_check_names_missing_configuration_with_exit_code_78(tmp_path):
    done = check("check", "acme-chat", PYTHONPATH=install(tmp_path, "acme-chat", PLUGIN), ACME_TOKEN="")
    assert done.returncode == 78
    assert "ACME_TOKEN is not set" in done.stderr


def test_check_explains_a_plugin_that_cannot_be_loaded(tmp_path):
    done = check("check", "broken", PYTHONPATH=install(tmp_path, "broken", "raise ImportError('no such library')"))
    assert done.returncode == 1
    assert "Error: importing broken:plugin failed: ImportError: no such library" in done.stderr


def test_describe_and_help(tmp_path):
    done = check("describe", "acme-chat", PYTHONPATH=install(tmp_path, "acme-chat", PLUGIN))
    assert json.loads(done.stdout)["name"] == "acme-chat"
    assert "Example" in check("check", "--help").stdout
    assert check("dance").returncode == 2
