"""`python -m bench.runner_drain`: how fast a Runner hands over the backlog of an outage, against `bench.raw_core`.

The outbox is filled as the Runner fills it (one result and one journal row a job, every row checked again when it is
read), then the real program is started. The Core end acknowledges at once, so what is measured is the Runner's side.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from aisops_protocol.messages import EffectClass, ExecutionInfo, Job, JobResult, ResultStatus
from aisops_runner.jobs import journal
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.transaction import Transaction
from bench.job import CAPABILITY, DATA
from bench.lone_runner import LoneRunner
from bench.usage import usage

SLICE = 5_000


def fill(work: Transaction, first: int, count: int) -> None:
    """Store jobs that ran and ended: an accept and a result each."""
    jobs = [
        Job(f"job-{number}", os.urandom(16), 1, CAPABILITY, DATA, b"", "k", EffectClass.IDEMPOTENT, 30_000)
        for number in range(first, first + count)
    ]
    ran = ExecutionInfo("noop", "1.0", 1, 1, int(time.time() * 1000), 1)
    journal.accept(work, [journal.entry(job, started=True) for job in jobs])
    journal.finish(
        work,
        [
            journal.keep(JobResult(job.job_id, job.lease_id, 1, ResultStatus.SUCCEEDED, DATA, execution=ran), b"")
            for job in jobs
        ],
    )


async def build(folder: Path, messages: int) -> None:
    """Fill an outbox with so many messages."""
    outbox = await Outbox.open(folder)
    for first in range(0, messages // 2, SLICE):
        count = min(SLICE, messages // 2 - first)
        await outbox.transact(lambda work, first=first, count=count: fill(work, first, count))  # type: ignore[misc]
    await outbox.close()


def hand_over(home: Path, messages: int) -> dict[str, float]:
    """Build a backlog in this folder, start the Runner and wait until all of it has come; what the Core end saw."""
    asyncio.run(build(home / "data", messages))
    runner = LoneRunner(home, Path(sys.executable))
    try:
        found = runner.ask(f"drain {messages}")
        return found | {"cpu_us": usage(runner.pid).cpu_s / messages * 1e6}
    finally:
        runner.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.runner_drain", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="how many wait (default 1,000,000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aisops-bench-") as folder:
        found = hand_over(Path(folder), options.messages)
    print(f"first message {found['first_message_s'] * 1000:.0f} ms after Welcome")
    print(f"{found['messages_per_s']:,.0f} messages/s, {found['cpu_us']:.1f} µs of CPU each")
    print(f"longest without a heartbeat {found['longest_without_heartbeat_s']:.2f} s (one a second is asked for)")


if __name__ == "__main__":
    main()
