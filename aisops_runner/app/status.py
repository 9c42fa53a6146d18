"""The status document: what the control socket answers about the whole Runner."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from aisops_runner.jobs.executor import Executor
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.sidecars.fleet import Fleet
from aisops_runner.uplink.hello import Profile
from aisops_runner.uplink.pump import Uplink


async def status_document(
    profile: Profile, uplink: Uplink, outbox: Outbox, executor: Executor, fleet: Fleet
) -> dict[str, Any]:
    """Who this Runner is, how it stands with Core, and what it holds; no secret is in it."""
    core = asdict(uplink.status) | {"state": uplink.status.state.value}
    return {
        "runner_id": profile.runner_id,
        "tenant_id": profile.tenant_id,
        "version": profile.version,
        "pid": os.getpid(),
        "core": core,
        "outbox": asdict(outbox.stats)
        | {"last_seq": outbox.last_seq, "acked_seq": outbox.acked_seq, "failing": outbox.database.failing},
        "jobs": executor.status(),
        "plugins": [asdict(one) for one in fleet.status()],
    }
