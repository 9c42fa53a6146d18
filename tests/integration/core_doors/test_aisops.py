"""`aisops` from a shell: what people read, what programs read, exit codes, and no traceback for anybody's mistake."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aisops_protocol.messages import (
    Job,
    JobAccept,
    JobError,
    JobResult,
    LogEvent,
    LogLevel,
    ResultStatus,
    RunnerBody,
)
from tests.support.core_process import BIN, CoreProcess
from tests.support.raw_runner import RawRunner, working

pytestmark = pytest.mark.integration

Done = subprocess.CompletedProcess[str]
Aisops = Callable[..., Done]


@pytest.fixture
def environment(core: CoreProcess, home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AISOPS_CONFIG": str(home / "profile.json"),
        "AISOPS_URL": core.http_url,
        "AISOPS_TOKEN_FILE": str(core.home / "admin-token"),
    }


@pytest.fixture
def aisops(environment: dict[str, str]) -> Aisops:
    def run(*words: str, stdin: str = "", **more: str) -> Done:
        done = subprocess.run(
            [str(BIN / "aisops"), *words],
            input=stdin,
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def answering(core: CoreProcess, runner_token: str) -> Iterator[RawRunner]:
    """A Runner that answers each job by its text: `fail` fails, anything else succeeds."""

    def answer(job: Job) -> list[RunnerBody]:
        failed = b"fail" in job.input
        error = JobError("provider_error", "the provider said no") if failed else None
        status = ResultStatus.FAILED if failed else ResultStatus.SUCCEEDED
        return [
            JobAccept(job.job_id, job.lease_id, job.attempt),
            LogEvent(LogLevel.INFO, "line \x1b[31m1", 1_700_000_000_000, job.job_id),
            JobResult(job.job_id, job.lease_id, job.attempt, status, b'{"ok":true}', error),
        ]

    with working(core.grpc_port, runner_token, answer) as runner:
        yield runner


def test_login_keeps_a_private_profile_and_later_commands_need_nothing_else(
    aisops: Aisops, core: CoreProcess, home: Path
) -> None:
    bare = {"AISOPS_URL": "", "AISOPS_TOKEN_FILE": ""}
    done = aisops("login", core.http_url, "--token-file", "-", stdin=core.admin_token + "\n", **bare)
    assert done.returncode == 0, done.stderr
    assert "as admin (admin, tenant t_default)" in done.stdout
    assert stat.S_IMODE((home / "profile.json").stat().st_mode) == 0o600
    assert json.loads(aisops("whoami", "--json", **bare).stdout)["role"] == "admin"


def test_a_wrong_token_is_refused_for_good_and_nothing_is_kept(aisops: Aisops, core: CoreProcess, home: Path) -> None:
    done = aisops("login", core.http_url, "--token-file", "-", stdin="aisops_api_wrong")
    assert done.returncode == 78
    assert "[unauthenticated]" in done.stderr
    assert "aisops_api_wrong" not in done.stderr
    assert not (home / "profile.json").exists()


@pytest.mark.usefixtures("answering")
def test_submit_and_wait_tells_the_end_by_exit_code(aisops: Aisops) -> None:
    good = aisops("job", "submit", "test.echo", "--input", '{"text": "hello"}', "--wait", "--json")
    assert good.returncode == 0, good.stderr
    job = json.loads(good.stdout)
    assert (job["state"], job["output"]) == ("succeeded", {"ok": True})
    bad = aisops("job", "submit", "test.echo", "--input", '{"text": "fail"}', "--wait", "30")
    assert bad.returncode == 1
    assert "provider_error: the provider said no" in bad.stdout
    logs = aisops("job", "logs", job["id"], "-f")
    assert logs.stdout.endswith("info     line \\x1b[31m1\n"), "what a Runner says does not drive the terminal"
    assert "succeeded" in aisops("job", "timeline", job["id"]).stdout
    assert aisops("job", "show", job["id"], "-q").stdout == job["id"] + "\n"


def test_input_comes_from_a_file_or_standard_input(aisops: Aisops, home: Path) -> None:
    (home / "in.json").write_text('{"text": "from a file"}')
    made = json.loads(aisops("job", "submit", "test.echo", "--input", f"@{home}/in.json", "--json").stdout)
    assert made["input"] == {"text": "from a file"}
    made = json.loads(aisops("job", "submit", "test.echo", "--input", "-", "--json", stdin='{"text": "in"}').stdout)
    assert made["input"] == {"text": "in"}
    done = aisops("job", "cancel", made["id"])
    assert done.stdout == f"{made['id']} is cancelled.\n"


def test_ctrl_c_while_waiting_leaves_the_job_alone(environment: dict[str, str], core: CoreProcess) -> None:
    command = [str(BIN / "aisops"), "job", "submit", "test.echo", "--input", '{"text": "x"}', "--wait"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "queued" in first
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    job_id = first.split()[0]
    assert process.returncode == 130
    assert f"The job {job_id} goes on." in err
    assert core.api("GET", f"/jobs/{job_id}").json["state"] == "queued"


MISTAKES = [
    (
        ["job", "submit", "test.unknown", "--input", "{}"],
        1,
        ["[unknown_capability]", "→ Known capabilities: test.echo"],
    ),
    (["job", "submit", "test.echo", "--input", '{"text": 5}'], 1, ["[input_invalid]", "/input/text"]),
    (["job", "submit", "test.echo", "--input", "{nope"], 2, ["not JSON", "single quotes"]),
    (["job", "submit", "test.echo", "--input", "@/none.json"], 2, ["Cannot read the input from /none.json"]),
    (
        ["job", "submit", "test.echo", "--input", '{"text": "x"}', "--runner", "none"],
        1,
        ["No Runner 'none' of this tenant offers"],
    ),
    (["job", "submit", "test.echo", "--label", "x"], 2, ["not KEY=VALUE"]),
    (["job", "show", "none"], 1, ["There is no job 'none'", "[job_not_found]"]),
    (["job", "show", "../x"], 1, ["[not_found]"]),
    (["job", "list", "--state", "done"], 2, ["'done' is not one of"]),
    (["runner", "show", "none"], 1, ["[runner_not_found]", "→ `aisops runner list`"]),
    (["runner", "show", "runner-1/events"], 1, ["[not_found]"]),
    (["runner", "events", "none"], 1, ["[runner_not_found]"]),
    (["runner", "create", "runner-1"], 1, ["[already_exists]", "aisops runner token runner-1"]),
    (["capability", "show", "none"], 1, ["No Runner offers 'none'", "test.echo"]),
    (["nonsense"], 2, ["No such command"]),
    (["whoami", "--url", "http://core.invalid"], 78, ["not encrypted"]),
    (["whoami", "--url", "https://core.invalid", "--token-file", "/none"], 78, ["Cannot read the token"]),
]


@pytest.mark.parametrize(("words", "code", "texts"), MISTAKES, ids=[" ".join(case[0][:3]) for case in MISTAKES])
def test_a_mistake_is_one_line_its_cause_and_the_next_step(
    aisops: Aisops, words: list[str], code: int, texts: list[str]
) -> None:
    done = aisops(*words)
    assert done.returncode == code, done.stderr
    assert all(text in done.stderr for text in texts), done.stderr
    assert done.stdout == ""


def test_nobody_listening_is_explained(aisops: Aisops) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = aisops("job", "list", AISOPS_URL=url)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: Nothing listens at {url} (connection refused).",
        "  → Is Core running there? `aisops-core serve --data DIR` starts one.",
    ]


def test_what_is_no_core_is_explained(aisops: Aisops, core: CoreProcess) -> None:
    done = aisops("job", "list", AISOPS_URL=f"http://127.0.0.1:{core.grpc_port}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")


def test_with_json_errors_are_problem_documents_on_standard_error(aisops: Aisops) -> None:
    done = aisops("job", "submit", "test.unknown", "--json")
    assert json.loads(done.stderr)["code"] == "unknown_capability"
    assert done.stdout == ""


def test_lists_show_whole_ids_and_states_or_json_or_ids(aisops: Aisops) -> None:
    made = json.loads(aisops("job", "submit", "test.echo", "--input", '{"text": "x"}', "--json").stdout)
    table = aisops("job", "list", "--limit", "1").stdout.splitlines()
    assert table[0].split()[:3] == ["ID", "STATE", "CAPABILITY"]
    assert table[1].split()[:2] == [made["id"], "queued"]
    assert json.loads(aisops("job", "list", "--limit", "1", "--json").stdout)["items"][0]["id"] == made["id"]
    assert aisops("job", "list", "--limit", "1", "-q").stdout == made["id"] + "\n"
    assert "runner-1" in aisops("runner", "list").stdout
    assert "test.echo" in aisops("capability", "list").stdout
    assert aisops("runner", "events", "runner-1").returncode == 0
    shown = json.loads(aisops("capability", "show", "test.echo", "--json").stdout)
    assert shown["input_schema"]["required"] == ["text"]


def test_a_new_runners_token_is_printed_once(aisops: Aisops, core: CoreProcess) -> None:
    done = aisops("runner", "create", "runner-3", "--label", "site=b", "-q")
    assert done.stdout.startswith("aisops_run_")
    shown = json.loads(aisops("runner", "show", "runner-3", "--json").stdout)
    assert shown["labels"] == {"site": "b"}
    assert done.stdout.strip() not in core.log
    assert aisops("runner", "token", "runner-3", "-q").stdout != done.stdout


def test_a_narrow_terminal_drops_columns_and_never_cuts_an_id(environment: dict[str, str], core: CoreProcess) -> None:
    import pty

    job_id = core.api("POST", "/jobs", {"capability": "test.echo", "input": {"text": "x"}}).json["id"]
    reader, writer = pty.openpty()
    command = [str(BIN / "aisops"), "job", "list", "--limit", "1"]
    with subprocess.Popen(
        command, env={**environment, "COLUMNS": "40", "TERM": "xterm", "NO_COLOR": "1"}, stdout=writer
    ) as process:
        assert process.wait(30) == 0
    shown = os.read(reader, 65536).decode()
    os.close(reader)
    os.close(writer)
    assert job_id in shown
    assert "queued" in shown
    assert "CREATED" not in shown
    assert "\x1b[" not in shown
