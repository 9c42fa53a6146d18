import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_protocol.messages import LogLevel
from aisops_runner.sidecars.lines import LINE_BYTES, common_contract, parse_log, parse_ready, parse_refusal

READY = {"aisops": 1, "ready": True, "contract": [1], "port": 4000, "pid": 7}


def _log(line: bytes, *, stderr: bool = False) -> object:
    return parse_log(line, source="p", now_unix_ms=5, stderr=stderr, redact=lambda text: text.replace("hunter2", "***"))


def test_reads_the_ready_line() -> None:
    ready = parse_ready(json.dumps(READY | {"more": 1}).encode())
    assert ready is not None
    assert (ready.port, ready.pid, ready.contract) == (4000, 7, (1,))


@pytest.mark.parametrize(
    "change",
    [
        {"aisops": 2},
        {"ready": "yes"},
        {"port": 0},
        {"port": 65536},
        {"port": "80"},
        {"port": True},
        {"pid": None},
        {"contract": 1},
    ],
)
def test_refuses_what_is_no_ready_line(change: dict[str, object]) -> None:
    assert parse_ready(json.dumps(READY | change).encode()) is None


@given(st.binary(max_size=200))
def test_no_line_raises(line: bytes) -> None:
    parse_ready(line)
    parse_refusal(line)
    _log(line)


def test_picks_the_highest_common_contract() -> None:
    assert common_contract((1, 2)) == 1
    assert common_contract((2, 3)) is None


def test_reads_a_log_line_of_the_contract() -> None:
    line = json.dumps({"log": 1, "level": "error", "message": "bad hunter2", "job_id": "j1", "time_ms": 9}).encode()
    log = _log(line)
    assert (log.job_id, log.level, log.text, log.time_unix_ms) == ("j1", LogLevel.ERROR, "bad ***", 9)


def test_other_text_is_the_plugins_own_line_with_secrets_and_control_characters_removed() -> None:
    log = _log(b"\x1b[31mhunter2\xff", stderr=True)
    assert (log.job_id, log.level, log.time_unix_ms) == ("", LogLevel.WARNING, 5)
    assert log.text == "\ufffd[31m***\ufffd"


def test_long_text_is_cut_to_the_wire_limit() -> None:
    assert len(_log("ü".encode() * (LINE_BYTES // 2)).text.encode()) <= 16 * 1024


def test_a_refusal_to_start_gives_its_reason() -> None:
    assert parse_refusal(b'{"ok":false,"code":"import_failed","error":"no module"}') == "no module"
    assert parse_refusal(b'{"ok":true}') == ""
