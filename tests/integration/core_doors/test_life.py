"""Core's life as a process: first start, one folder one Core, orderly stop, the same data after a restart."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from aisops_protocol.messages import Drain
from tests.support.core_process import BIN, CoreProcess, running_core
from tests.support.raw_runner import RawRunner

pytestmark = pytest.mark.integration


def test_the_data_folder_and_everything_in_it_is_private(core: CoreProcess) -> None:
    assert stat.S_IMODE(core.data.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in core.data.iterdir()}
    assert {"core.sqlite", "pepper", "core.lock", "endpoints.json"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((core.home / "admin-token").stat().st_mode) == 0o600


def test_a_second_core_on_the_same_data_is_refused(core: CoreProcess) -> None:
    assert core.process is not None
    done = subprocess.run(core.command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 78
    assert f"Another Core is running on {core.data} (process {core.process.pid})" in done.stderr
    assert "Traceback" not in done.stderr


def test_stop_drains_runners_ends_0_and_a_restart_keeps_token_and_runner(home: Path) -> None:
    with running_core(home) as core:
        token = core.create_runner("runner-1")
        with RawRunner(core.grpc_port, token) as runner:
            runner.greet()
            assert core.process is not None
            core.process.terminate()
            assert runner.receive(Drain).reason == "Core is stopping"
            end, goodbye = runner.end()
            assert end.reason == "SHUTDOWN"
            assert goodbye is not None
        assert core.process.wait(10) == 0
        admin = core.admin_token
        core.start()
        assert core.admin_token == admin, "the token file of the first start is left alone"
        assert [runner["id"] for runner in core.api("GET", "/runners").json["items"]] == ["runner-1"]


def test_a_waiting_caller_is_answered_when_core_stops(home: Path) -> None:
    with running_core(home) as core:
        token = core.create_runner("runner-1")
        with RawRunner(core.grpc_port, token) as runner:
            runner.greet()
        job = core.api("POST", "/jobs", {"capability": "test.echo", "input": {"text": "x"}}).json
        command = [str(BIN / "aisops"), "job", "submit", "test.echo", "--input", '{"text":"y"}', "--wait", "--json"]
        environment = {"AISOPS_URL": core.http_url, "AISOPS_TOKEN": core.admin_token, "PATH": "/usr/bin:/bin"}
        waiting = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert job["state"] == "queued"
        while len(core.api("GET", "/jobs").json["items"]) < 2:
            pass
        assert core.stop() == 0
        out, err = waiting.communicate(timeout=30)
        assert waiting.returncode == 1
        # The caller asks again at once: it meets a door that is closing, or one that is closed.
        detail = json.loads(err)["detail"]
        assert "connection refused" in detail or "Connection reset" in detail or "closed" in detail
        assert out == ""


def test_the_first_start_shows_the_token_once_and_says_what_to_do(home: Path) -> None:
    command = [str(BIN / "aisops-core"), "serve", "--data", str(home / "d"), "--http", ":0", "--grpc", ":0"]
    shown = []
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            process.terminate()
            shown.append("".join(lines) + process.stdout.read())
        assert process.returncode == 0
    assert "aisops_api_" in shown[0]
    assert "aisops login http://127.0.0.1:" in shown[0]
    assert "aisops_api_" not in shown[1]


def test_without_the_key_of_its_tokens_core_does_not_start_and_draws_no_other(home: Path) -> None:
    """A database put back without its pepper would turn every token away; that is said, and nothing is written."""
    with running_core(home) as core:
        pepper = (core.data / "pepper").read_text()
    (core.data / "pepper").unlink()
    done = subprocess.run(core.command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 78
    assert "the key their hashes need, is missing" in done.stderr
    assert "Restore it" in done.stderr
    assert not (core.data / "pepper").exists()
    for damaged in ("", "nonsense", "ab" * 31):
        (core.data / "pepper").write_text(damaged)
        refused = core.administer("token", "list")
        assert (refused.returncode, "does not hold a key" in refused.stderr) == (78, True)
    (core.data / "pepper").write_text(pepper)
    core.start()
    assert core.api("GET", "/whoami").status == 200
    assert core.stop() == 0


def test_the_audit_log_is_listed_and_a_change_shows(home: Path) -> None:
    with running_core(home) as core:
        core.create_runner("runner-1")
        listed = json.loads(core.administer("audit", "list", "--json").stdout)["items"]
        assert [one["action"] for one in listed if one["subject"] == "runner-1"] == ["runner.create"]
        assert listed[0]["seq"] == 1
        assert "runner.create" in core.administer("audit", "list", "--after", "1").stdout
        assert core.administer("audit", "verify").stdout == "The chain holds.\n"
    with closing(sqlite3.connect(core.data / "core.sqlite")) as database:
        database.execute("UPDATE audit_records SET actor = 'nobody' WHERE seq = 2")
        database.commit()
    broken = core.administer("audit", "verify")
    assert broken.returncode == 1
    assert "breaks at record 2" in broken.stderr


MISTAKES = [
    (["serve"], "No data folder", 78),
    (["serve", "--data", "{home}/d", "--http", "0.0.0.0:0"], "without TLS", 78),
    (["serve", "--data", "{home}/d", "--grpc", "127.0.0.1:99999"], "not a port", 78),
    (["serve", "--data", "/proc/x"], "Cannot make the data folder", 78),
    (["serve", "--config", "{home}/none.toml"], "Cannot read", 78),
    (["serve", "--nonsense"], "No such option", 2),
    (["token", "list", "--data", "{home}/none"], "There is no data folder", 1),
    (["token", "create", "--data", "{home}"], "either --name", 2),
]


@pytest.mark.parametrize(("words", "text", "code"), MISTAKES)
def test_a_users_mistake_is_one_clear_message_and_an_exit_code(
    home: Path, words: list[str], text: str, code: int
) -> None:
    command = [str(BIN / "aisops-core"), *(word.format(home=home) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_in_use_is_explained(core: CoreProcess, home: Path) -> None:
    taken = core.http_url.removeprefix("http://")
    for door, other in (("--http", "--grpc"), ("--grpc", "--http")):
        address = taken if door == "--http" else f"127.0.0.1:{core.grpc_port}"
        command = [str(BIN / "aisops-core"), "serve", "--data", str(home / "d"), door, address, other, "127.0.0.1:0"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 1, done.stderr
        assert f"Cannot listen on {address}" in done.stderr
        assert "Traceback" not in done.stderr


def test_migrate_says_what_it_did_and_repeats_without_change(home: Path) -> None:
    answers = []
    for _ in range(2):
        command = [str(BIN / "aisops-core"), "migrate", "--data", str(home / "d"), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        answers.append(json.loads(done.stdout)["changed"])
    assert answers == [True, False]


def test_a_token_made_beside_a_running_core_works_and_ends_when_it_is_revoked(core: CoreProcess) -> None:
    token = core.create_token("short", "viewer")
    assert core.request("GET", "/api/v1/whoami", token=token).json["role"] == "viewer"
    token_id = token.split("_")[2]
    assert token_id in core.administer("token", "list").stdout
    done = core.administer("token", "revoke", token_id)
    assert done.returncode == 0, done.stderr
    assert token.split("_", 3)[3] not in core.log
    # The running Core may remember a token for two seconds.
    from tests.support.core_process import until

    until(lambda: core.request("GET", "/api/v1/whoami", token=token).status == 401, "the revoked token being refused")
