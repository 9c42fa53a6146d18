"""A child is reaped, with its own exit code, also where somebody traces it and is told of its exit first."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from aisops_runner.adapters.child import Child

pytestmark = pytest.mark.integration


def _tracer_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("TracerPid:"))


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_a_traced_child_is_reaped_once_its_tracer_has_seen_the_exit() -> None:
    child = Child.spawn(["/bin/sleep", "60"], env={})
    command = ("strace", "-qq", "-o", "/dev/null", "-p", str(child.pid))
    tracer = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(20):
            while not _tracer_of(child.pid):
                if tracer.returncode is not None:
                    pytest.skip("strace may not trace here")
                await asyncio.sleep(0.01)
        os.kill(tracer.pid, signal.SIGSTOP)
        child.kill_group()
        assert not await child.wait(0.2)  # the kernel tells the tracer first, and that one stands still
        os.kill(tracer.pid, signal.SIGCONT)
        assert await child.wait(10)
        assert child.exited.result() == -signal.SIGKILL
        assert not _exists(child.pid)
    finally:
        if tracer.returncode is None:
            tracer.kill()
        await tracer.wait()
        await child.kill()
