"""The command line: quick help, a sentence for every failure, exit codes that scripts can trust."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aisops_runner.cli import failure
from aisops_runner.cli.main import COMMANDS, main
from aisops_runner.cli.status import render_plugins, render_status
from aisops_runner.cli.table import render


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "AISOPS_RUNNER_CONFIG",
        "CORE_RUNNER_AUTH_TOKEN",
        "AISOPS_RUNNER_TOKEN_FILE",
        "AISOPS_RUNNER_DATA_DIR",
    ):
        monkeypatch.delenv(name, raising=False)


def _config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "runner.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["status", "-h"], ["plugin", "--help"], ["plugin", "list", "-h"]]
)
def test_help_shows_examples(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert failure.run(main, words) == 0
    assert "Examples:\n" in capsys.readouterr().out


def test_every_command_is_listed_and_importable(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert failure.run(main, [name, "--help"]) == 0
    assert failure.run(main, ["--version"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith("aisops-runner ")


@pytest.mark.parametrize("words", [["nonsense"], ["run", "--nonsense"], ["plugin", "nonsense"], ["plugin", "describe"]])
def test_wrong_usage_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert failure.run(main, words) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("job_slots = 0", "job_slots"),
        ("", "aisops runner create"),
        ('core_endpoint = "http://core.example.com:1"', "allow_plaintext"),
        ("x", "not TOML"),
    ],
)
def test_a_bad_configuration_exits_78_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, hint: str
) -> None:
    assert failure.run(main, ["run", "--config", _config(tmp_path, text)]) == 78
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert hint in err


def test_a_missing_file_exits_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure.run(main, ["status", "--config", str(tmp_path / "none.toml")]) == 78
    assert "none.toml" in capsys.readouterr().err


def test_status_without_a_runner_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(tmp_path, f'data_dir = "{tmp_path / "data"}"')
    assert failure.run(main, ["status", "--config", config]) == 1
    assert "aisops-runner run" in capsys.readouterr().err
    assert failure.run(main, ["status", "--config", config, "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["code"] == "not_running"


def test_a_bug_is_a_sentence_and_a_traceback_only_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(directory: Path, question: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("aisops_runner.cli.status.ask", broken)
    assert failure.run(main, ["status"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert failure.run(main, ["status", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(directory: Path, question: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aisops_runner.cli.status.ask", interrupted)
    assert failure.run(main, ["status"]) == 130


def test_nothing_is_cut_from_a_table() -> None:
    long = "x" * 300
    table = render(["NAME", "STATE"], [[long, "ready"], ["b\x1b[2J", "broken"]])
    assert long in table
    assert "\x1b[2J" not in table


def test_status_for_people_names_the_essentials() -> None:
    row = {
        "name": "slack",
        "version": "1",
        "state": "ready",
        "pid": 7,
        "restarts": 0,
        "capabilities": ["slack.send"],
        "reason": "",
    }
    text = render_status(
        {
            "runner_id": "seoul-dc-1", "tenant_id": "acme", "version": "0.1", "pid": 5,
            "core": {"state": "waiting", "endpoint": "https://core:443", "rtt_ms": 1.25, "last_error": "refused",
                     "clock": "warning", "skew_ms": 72_300.0},
            "outbox": {"messages": 3}, "jobs": {"running": 1, "free_slots": 15}, "plugins": [row],
        }
    )  # fmt: skip
    for piece in (
        "seoul-dc-1",
        "acme",
        "waiting",
        "1.2 ms",
        "refused",
        "clock warning: this machine's is 72 s behind Core's",
        "messages 3",
        "free slots 15",
        "slack.send",
        "7",
    ):
        assert piece in text
    assert "plugin install" in render_plugins([])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from aisops_runner.cli.failure import run; from aisops_runner.cli.main import main\n"
        "run(main, ['--help'])\n"
        "heavy = {'grpc', 'aiohttp', 'aiosqlite', 'pydantic', 'structlog', 'stevedore'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_settings_of_a_plugin_that_is_not_installed_are_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"name": "slack", "version": "1", "state": "ready", "pid": 1, "restarts": 0, "capabilities": (), "reason": ""}
    monkeypatch.setattr("aisops_runner.cli.plugins.listing.ask", lambda *_: {"plugins": [row]})
    path = _config(tmp_path, "[plugins.slak]\nprewarm = true\n[plugins.slack]\nprewarm = true\n")
    assert failure.run(main, ["plugin", "list", "--config", path]) == 0
    assert capsys.readouterr().err.strip().endswith("not installed: slak.")
