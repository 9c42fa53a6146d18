"""A clock that is set jumps for a running program and for its children; its sense of duration stays true."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.injection.clock import LIBFAKETIME, WallClock

pytestmark = [pytest.mark.chaos, pytest.mark.skipif(bool(LIBFAKETIME.missing()), reason=LIBFAKETIME.missing())]

PROGRAM = """
import subprocess, sys, time
for line in sys.stdin:
    began = time.monotonic()
    time.sleep(0.05)
    child = subprocess.check_output([sys.executable, "-c", "import time; print(time.time())"], text=True)
    print(time.time(), child.strip(), time.monotonic() - began, flush=True)
"""


def test_the_clock_jumps_under_a_running_program_and_its_children(tmp_path: Path) -> None:
    clock = WallClock(tmp_path / "clock")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": clock.search},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for ahead_s in (0, 3600, -3600, -10 * 365 * 86400, 0):
            clock.set(ahead_s)
            process.stdin.write("tell\n")
            process.stdin.flush()
            own, childs, took = map(float, process.stdout.readline().split())
            expected = time.time() + ahead_s
            assert abs(own - expected) < 5
            assert abs(childs - expected) < 5
            assert 0.05 <= took < 5
    finally:
        process.stdin.close()
        assert process.wait(10) == 0
        process.stdout.close()
