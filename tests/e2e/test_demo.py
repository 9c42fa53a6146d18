"""`make demo`, as a newcomer meets it: it exits 0 only when all four arrived, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from demo.program import wait_until
from demo.stage import ROOT


def test_the_demo_delivers_to_all_four_and_says_so() -> None:
    """Exit 0, four jobs succeeded, four messages with the alert's text, one JSON document on standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--json"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert [job["arrived"] for job in document["jobs"]] == [True] * 4
    assert {job["state"] for job in document["jobs"]} == {"succeeded"}
    assert "All four arrived" in done.stderr


def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    """With --keep everything stays up; one Ctrl-C ends Core, Runner, providers and every sidecar."""
    output = tmp_path / "demo.out"
    with output.open("wb") as stream:
        demo = subprocess.Popen([sys.executable, "-m", "demo", "--keep"], cwd=ROOT, stdout=stream, stderr=stream)
    try:
        wait_until(lambda: "stays up until Ctrl-C" in output.read_text(), "the demo standing", 60)
        family = psutil.Process(demo.pid).children(recursive=True)
        assert len(family) >= 3 + 4, "providers, Core, Runner and four sidecars"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 130
        _, alive = psutil.wait_procs(family, timeout=3)
        assert not alive
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
