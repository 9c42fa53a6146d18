"""A Core whose disk takes no more says so at its door, loses nothing, and comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import uuid
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.fault import ROOT, tool
from tests.chaos.injection.private_world import in_private_world, mount_small_disk
from tests.support.core_process import CoreProcess, running_core, until

MISSING = "; ".join(filter(None, (need.missing() for need in (ROOT, tool("mount")))))
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit a running process's files")
def test_readiness_follows_what_the_disk_takes(tmp_path: Path) -> None:
    """Files that may not grow stand in for a disk without room: writes fail, reads go on."""
    with running_core(tmp_path) as core:
        assert core.process is not None
        assert core.request("GET", "/readyz").status == 200

        resource.prlimit(core.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        names = (f"runner-{uuid.uuid4().hex}" for _ in range(1000))
        answer = until(
            lambda: (
                found if (found := core.api("POST", "/runners", {"runner_id": next(names)})).status == 503 else None
            ),
            "a write that is refused",
        )
        assert answer.code == "storage_unavailable"
        assert core.request("GET", "/readyz").status == 503
        assert core.request("GET", "/healthz").status == 200

        resource.prlimit(core.process.pid, resource.RLIMIT_FSIZE, UNLIMITED)
        until(lambda: core.request("GET", "/readyz").status == 200, "readiness coming back")
        assert core.api("POST", "/runners", {"runner_id": "after"}).status == 201


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
async def test_a_core_whose_disk_stays_full_stops_in_order(tmp_path: Path) -> None:
    await in_private_world(partial(asyncio.to_thread, _stop_on_a_full_disk, tmp_path))


def _stop_on_a_full_disk(home: Path) -> None:
    mount_small_disk(home / "core", 16 * 1024 * 1024)
    with running_core(home) as core:
        filler = core.data / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        names = (f"runner-{uuid.uuid4().hex}" for _ in range(10_000))

        def refused() -> bool:
            return core.api("POST", "/runners", {"runner_id": next(names)}).status == 503

        # One that is refused may leave room for the next: the last one before the stop must have been refused.
        until(lambda: all(refused() for _ in range(10)), "writes that are refused")
        assert core.stop() == 0
        assert "stopping although the database takes nothing" in core.log
        assert "Traceback" not in core.log
        filler.unlink()
        core.start()
        assert core.api("POST", "/runners", {"runner_id": "after"}).status == 201


@pytest.mark.parametrize(("place", "code"), [("core", 1), ("file/core", 78)])
def test_only_what_stays_wrong_keeps_a_supervisor_from_another_try(tmp_path: Path, place: str, code: int) -> None:
    """A disk that takes nothing may be well in a minute; a folder below a file never will be one."""
    (tmp_path / "file").touch()
    command = CoreProcess(tmp_path).command
    command[command.index("--data") + 1] = str(tmp_path / place)
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (4096, 4096))
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert "→" in done.stderr
    assert "bug" not in done.stderr
