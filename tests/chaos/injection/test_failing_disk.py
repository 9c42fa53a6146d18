"""Calls fail as often as they should, with the error of a broken disk, and the others do not fail."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.injection.failing_disk import SYNC, WRITE, FailingDisk, failing

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(shutil.which("fiu-run") is None, reason="fiu-run (package fiu-utils) is not installed"),
]

PROGRAM = """
import errno, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
failed = {"pwrite": 0, "fdatasync": 0, "fsync": 0}
for _ in range(1000):
    for name, call in (("pwrite", lambda: os.pwrite(handle, b"x", 0)), ("fdatasync", lambda: os.fdatasync(handle)),
                       ("fsync", lambda: os.fsync(handle))):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.EIO, error
            failed[name] += 1
print(*failed.values())
"""


@pytest.mark.parametrize(("writes", "syncs"), [(0.0, 0.05), (0.2, 0.0), (0.1, 0.1)])
def test_calls_fail_by_their_chance(tmp_path: Path, writes: float, syncs: float) -> None:
    command = failing([sys.executable, "-c", PROGRAM, tmp_path / "file"], {WRITE: writes, SYNC: syncs})
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    failed = [int(count) for count in done.stdout.split()]
    for count, chance in zip(failed, (writes, syncs, 0.0), strict=True):
        assert abs(count - 1000 * chance) <= 5 * (1000 * chance * (1 - chance)) ** 0.5


SWITCHED = """
import os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for _ in sys.stdin:
    try:
        os.fdatasync(handle)
        print("ok", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


def test_a_disk_fails_when_told_and_heals_when_told(tmp_path: Path) -> None:
    disk = FailingDisk(tmp_path)
    command = disk.under([sys.executable, "-c", SWITCHED, tmp_path / "file"])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def sync() -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("sync\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    assert sync() == "ok"
    disk.fail(process.pid, {SYNC: 1.0})
    assert sync() == str(errno.EIO)
    disk.heal(process.pid, {SYNC})
    assert sync() == "ok"
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
