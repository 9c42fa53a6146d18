"""A Core whose disk takes no more says so at its door, loses nothing, and comes back by itself."""

from __future__ import annotations

import resource
import uuid
from pathlib import Path

import pytest

from tests.support.core_process import running_core, until

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
