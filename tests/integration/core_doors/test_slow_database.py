"""A database that takes its time, from outside: Runners are told to send less, lose nothing, and are let go again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from aisops_protocol.messages import Ack, Heartbeat, LogEvent, LogLevel, Pong
from tests.support.core_process import CoreProcess, running_core, until
from tests.support.raw_runner import RawRunner

pytestmark = pytest.mark.integration

SLOW_S = 2.5
"""Longer than a commit may take before windows become small, shorter than what Core waits for a database."""


@contextmanager
def locked(core: CoreProcess) -> Iterator[None]:
    """Another program has the database file for itself; Core's commits wait for it."""
    with closing(
        sqlite3.connect(f"file:{core.data / 'core.sqlite'}?mode=rw", uri=True, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def figure(core: CoreProcess, name: str) -> float:
    for line in core.request("GET", "/metrics").body.decode().splitlines():
        if line.startswith(f"aisops_core_{name} "):
            return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


def window_after(runner: RawRunner, text: str) -> tuple[int, int]:
    """Send a line; the next window that an acknowledgement gives."""
    runner.durable(LogEvent(LogLevel.INFO, text, 1))
    while not (ack := runner.receive(Ack)).max_inflight_messages:
        pass
    return ack.max_inflight_messages, ack.max_inflight_bytes


def test_runners_are_held_back_while_the_database_is_slow(tmp_path: Path) -> None:
    with running_core(tmp_path) as core:
        tokens = [core.create_runner(name) for name in ("busy", "idle")]
        with (
            RawRunner(core.grpc_port, tokens[0], runner_id="busy") as busy,
            RawRunner(core.grpc_port, tokens[1], runner_id="idle") as idle,
        ):
            welcome = busy.greet()
            idle.greet()
            wide = (welcome.max_inflight_messages, welcome.max_inflight_bytes)
            with locked(core):
                busy.durable(LogEvent(LogLevel.INFO, "waits for the file", 1))
                until(lambda: figure(core, "ingest_held_bytes") > 0, "the line being delivered")
                began = time.monotonic()
                until(lambda: time.monotonic() - began > SLOW_S, "the commit being late")
                narrow = window_after(busy, "the next one")
                assert narrow < wide
                ack = idle.receive(Ack)
                assert (ack.max_inflight_messages, ack.max_inflight_bytes) == narrow, "also who sends nothing now"
                assert figure(core, "ingest_pace") >= 1
                busy.volatile(Heartbeat(7, free_slots=1))
                assert busy.receive(Pong).echo_clock_unix_ms == 7, "heartbeats are answered meanwhile"
            while busy.receive(Ack).seq < 2:
                pass
            until(lambda: figure(core, "ingest_pace") == 0, "the pace being free again")
            assert window_after(idle, "a line after it") == wide
            assert figure(core, "ingest_slowdowns_total") >= 1
            until(lambda: figure(core, "ingest_held_bytes") == 0, "everything being committed")
