"""The last lines of each plugin: bounded, whole, and the newest."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_protocol.messages import LogLevel
from aisops_runner.adapters.calls import JobLog
from aisops_runner.sidecars import logbook
from aisops_runner.sidecars.logbook import Line, Logbook, decode, encode, last_lines


def line(number: int, source: str = "acme", text: str = "") -> JobLog:
    return JobLog("job-1", LogLevel.INFO, text or f"line {number}", number, source)


@given(st.text(), st.text(max_size=20), st.integers(0, 1 << 53), st.sampled_from(LogLevel))
def test_any_text_is_one_line_and_read_back(text: str, job: str, at: int, level: LogLevel) -> None:
    raw = encode(JobLog(job, level, text, at, "acme"))
    assert raw.count(b"\n") == 1
    assert decode(raw) == Line(at, level.name.lower(), job, text)


@given(st.binary(max_size=60))
def test_damage_is_no_line_and_no_crash(raw: bytes) -> None:
    assert decode(raw) is None or isinstance(decode(raw), Line)


def test_the_last_lines_come_back_in_order_for_each_plugin(tmp_path: Path) -> None:
    book = Logbook(tmp_path / "logs")
    for number in range(50):
        book.put(line(number))
        book.put(line(number, "other"))
    book.stop()
    found = last_lines(tmp_path / "logs", "acme", 3)
    assert [one.text for one in found] == ["line 47", "line 48", "line 49"]
    assert len(last_lines(tmp_path / "logs", "other", 1000)) == 50
    assert last_lines(tmp_path / "logs", "ghost", 10) == []
    assert (tmp_path / "logs" / "acme.log").stat().st_mode & 0o777 == 0o600


def test_two_files_are_kept_and_the_oldest_lines_go(tmp_path: Path) -> None:
    book = Logbook(tmp_path, file_bytes=2000)
    for number in range(1000):
        book.put(line(number))
    book.stop()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acme.log", "acme.log.1"]
    found = last_lines(tmp_path, "acme", 1000)
    assert [one.time_unix_ms for one in found] == list(range(1000 - len(found), 1000))
    assert len(found) > 30


def test_what_an_earlier_runner_wrote_is_continued(tmp_path: Path) -> None:
    for number in range(3):
        book = Logbook(tmp_path)
        book.put(line(number))
        book.stop()
    assert [one.time_unix_ms for one in last_lines(tmp_path, "acme", 9)] == [0, 1, 2]


def test_a_line_cut_off_by_a_power_cut_is_left_out(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    book.put(line(1))
    book.stop()
    with (tmp_path / "acme.log").open("ab") as file:
        file.write(encode(line(2))[:-9])
    assert [one.time_unix_ms for one in last_lines(tmp_path, "acme", 9)] == [1]


def test_lines_longer_than_what_is_read_at_once_come_back_whole(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    texts = ["가" * 30_000, "short", "x" * 200_000]
    for number, text in enumerate(texts):
        book.put(line(number, text=text))
    book.stop()
    assert [one.text for one in last_lines(tmp_path, "acme", 9)] == texts


def test_a_disk_that_refuses_holds_nobody_up_and_lines_are_kept_again_later(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the folder's place")
    book = Logbook(tmp_path / "logs")
    book.put(line(1))
    book.stop()
    (tmp_path / "logs").unlink()
    book.put(line(2))
    book.stop()
    assert [one.time_unix_ms for one in last_lines(tmp_path / "logs", "acme", 9)] == [2]


def test_lines_beyond_what_may_wait_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "WAITING_LINES", 2)
    book = Logbook(tmp_path)
    monkeypatch.setattr(book, "_work", lambda: None)
    for number in range(5):
        book.put(line(number))
    assert book.left_out == 3
