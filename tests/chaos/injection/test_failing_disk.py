"""Calls fail as often as they should, with the error of a broken disk, and the others do not fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.injection.failing_disk import SYNC, WRITE, failing

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
