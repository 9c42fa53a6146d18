"""`aisops-runner outbox status`: the same report from a running Runner and from a stopped one's file."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aisops_protocol.messages import LogLevel
from aisops_runner.cli.outbox import render_outbox
from aisops_runner.control.server import ControlServer
from aisops_runner.outbox.outbox import FILE_NAME, Outbox
from aisops_runner.outbox.queue import Bounds
from aisops_runner.outbox.report import report
from tests.support.core_process import BIN
from tests.support.outbox_rows import event, log

pytestmark = pytest.mark.integration


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "aisops-runner"), "outbox", "status", *words],
        env={"PATH": os.environ["PATH"], "AISOPS_RUNNER_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def filled(folder: Path) -> Outbox:
    outbox = await Outbox.open(folder, bounds=Bounds(max_bytes=40_000))
    await outbox.put(*[event(number) for number in range(3)])
    await outbox.put(*[log(number, LogLevel.DEBUG) for number in range(30)])
    await outbox.put(*[log(number, LogLevel.ERROR) for number in range(100)])
    return outbox


async def test_a_stopped_runners_outbox_is_told(tmp_path: Path) -> None:
    outbox = await filled(tmp_path)
    stats, epoch = outbox.stats, outbox.epoch
    await outbox.close()
    told: dict[str, Any] = json.loads(command(tmp_path, "--json").stdout)
    assert (told["runner"], told["messages"], told["bytes"]) == ("not answering", stats.messages, stats.bytes)
    assert told["dropped"]["total"] == stats.dropped
    assert told["dropped"]["debug"] == 30, "the least important go first"
    assert told["dropped"]["error"] == stats.dropped - 30
    assert told["epoch"] == epoch.hex()
    assert told["oldest_age_s"] >= 0
    assert told["files"]["set_aside"] == []
    text = command(tmp_path).stdout
    assert f"{stats.messages} messages" in text
    assert "debug 30" in text


async def test_a_running_runner_answers_itself(tmp_path: Path) -> None:
    outbox = await filled(tmp_path)
    control = ControlServer(tmp_path, {"outbox": lambda: outbox.report(1_900_000_000_000)})
    await control.start()
    try:
        done = await asyncio.to_thread(command, tmp_path, "--json")
        told = json.loads(done.stdout)
    finally:
        await control.stop()
        await outbox.close()
    assert (told["runner"], told["max_bytes"]) == ("running", 40_000)
    assert told["pressure"] == outbox.pressure().value
    assert told["oldest_age_s"] > 0


def test_where_no_runner_has_been_is_one_line_and_no_file(tmp_path: Path) -> None:
    done = command(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no outbox" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / FILE_NAME).exists()


async def test_a_million_rows_are_told_as_fast_as_one(tmp_path: Path) -> None:
    """Counted by the steps SQLite takes, which do not depend on the machine."""
    outbox = await Outbox.open(tmp_path)
    await outbox.put(event(1))

    async def steps() -> int:
        def counted(connection: Any) -> int:
            count = 0

            def tick() -> int:
                nonlocal count
                count += 1
                return 0

            connection.set_progress_handler(tick, 50)
            try:
                report(connection, tmp_path, Bounds(), 0)
            finally:
                connection.set_progress_handler(None, 0)
            return count

        return await outbox.database.read(counted)

    few = await steps()
    for _ in range(4):
        await outbox.put(*[event(number) for number in range(5_000)])
    assert await steps() <= few + 5
    await outbox.close()


def test_what_is_wrong_stands_at_the_end() -> None:
    document = {
        "runner": "running", "messages": 0, "bytes": 0, "max_bytes": 1 << 29, "full_percent": 0.0, "pressure": "normal",
        "oldest_age_s": None, "oldest_seq": 1, "next_seq": 1, "dropped": {"total": 0, "info": 0}, "quarantined": 2,
        "quarantined_rows_kept": 2, "epoch": None, "epochs": 0, "journal_id": "",
        "journal": {"accepted": 0, "started": 0, "unacknowledged_results": 0},
        "files": {"outbox_bytes": 5_000, "log_bytes": 0, "ballast_bytes": 4 << 20, "highwater_seq": 9, "suspect": True,
                  "set_aside": ["outbox.db.corrupt-1"]},
    }  # fmt: skip
    lines = render_outbox(document).splitlines()
    assert lines[-1] == "Set aside  outbox.db.corrupt-1"
    assert "next start checks every row" in lines[-2]
    assert "512.0 MiB" in render_outbox(document)
