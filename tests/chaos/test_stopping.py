"""The suite stopped by a signal takes everything it has started with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.program import wait_until
from demo.stage import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("stage"), pytest.mark.timeout(200)]

PATIENCE_S = 60.0


@pytest.fixture
def home() -> Iterator[Path]:
    """With a short name: a Unix socket's path holds 100 octets."""
    with tempfile.TemporaryDirectory(prefix="ch-") as name:
        yield Path(name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_suite_that_is_stopped_leaves_no_program_running(home: Path, number: signal.Signals) -> None:
    with (home / "log").open("wb") as log:
        suite = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos", "--faults", "F1", "--seed", "1"],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home)},
        )
    try:
        own = psutil.Process(suite.pid)
        # Providers, Core, Runner and at least one sidecar.
        wait_until(lambda: suite.poll() is not None or len(own.children(recursive=True)) >= 4, "programs", PATIENCE_S)
        assert suite.poll() is None, (home / "log").read_text()
        started = own.children(recursive=True)
        suite.send_signal(number)
        assert suite.wait(PATIENCE_S) == 128 + number
    finally:
        suite.kill()
        suite.wait()
    assert psutil.wait_procs(started, timeout=5)[1] == []
    wait_until(lambda: not _of(home) or None, "no process of its folder being left", 5)
    assert "everything it had started is ended" in (home / "log").read_text()
    assert not list(home.glob("aisops-chaos-*"))


def _of(folder: Path) -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or ())]
