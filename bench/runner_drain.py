"""`python -m bench.runner_drain`: how fast a Runner hands over the backlog of an outage, against `bench.raw_core`.

The outbox is filled as the Runner fills it (one result and one journal row a job, every row checked again when it is
read), then the real program is started. The Core end acknowledges at once, so what is measured is the Runner's side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aisops_protocol.messages import EffectClass, ExecutionInfo, Job, JobResult, ResultStatus
from aisops_runner.jobs import journal
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.transaction import Transaction
from bench.runner_alone import TOKEN, cpu_s
from bench.submit import TEXT
from demo.program import Program

OUTPUT = json.dumps({"text": TEXT}).encode()
SLICE = 5_000


def fill(work: Transaction, first: int, count: int) -> None:
    """Store jobs that ran and ended: an accept and a result each."""
    jobs = [
        Job(f"job-{number}", os.urandom(16), 1, "noop.echo", OUTPUT, b"", "k", EffectClass.IDEMPOTENT, 30_000)
        for number in range(first, first + count)
    ]
    ran = ExecutionInfo("noop", "1.0", 1, 1, int(time.time() * 1000), 1)
    journal.accept(work, [journal.entry(job, started=True) for job in jobs])
    journal.finish(
        work,
        [
            journal.keep(JobResult(job.job_id, job.lease_id, 1, ResultStatus.SUCCEEDED, OUTPUT, execution=ran), b"")
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


def main() -> None:
    """Fill, start, wait, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.runner_drain", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="how many wait (default 1,000,000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aisops-bench-") as name:
        home = Path(name)
        begun = time.perf_counter()
        asyncio.run(build(home / "data", options.messages))
        print(f"outbox filled with {options.messages:,} messages in {time.perf_counter() - begun:.0f} s", flush=True)
        core = subprocess.Popen(
            [sys.executable, "-m", "bench.raw_core"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if core.stdin is None or core.stdout is None:
            raise RuntimeError("the raw Core end has no pipes")
        (home / "token").write_text(TOKEN)
        (home / "token").chmod(0o600)
        (home / "runner.toml").write_text(
            f'core_endpoint = "http://127.0.0.1:{int(core.stdout.readline())}"\nrunner_id = "bench"\n'
            'token_file = "token"\ndata_dir = "data"\nlog_level = "warning"\n'
        )
        command = (sys.executable, "-m", "aisops_runner", "run", "--config", home / "runner.toml")
        runner = Program("runner", command, home / "runner.log")
        runner.start()
        try:
            print("drain", options.messages, file=core.stdin, flush=True)
            found = json.loads(core.stdout.readline())
            spent = cpu_s(runner.pid)
            print(f"first message {found['first_message_s'] * 1000:.0f} ms after Welcome")
            print(f"{found['messages_per_s']:,.0f} messages/s, {spent / options.messages * 1e6:.1f} µs of CPU each")
            print(
                f"longest without a heartbeat {found['longest_without_heartbeat_s']:.2f} s (one a second is asked for)"
            )
        finally:
            runner.stop()
            core.stdin.close()
            core.wait(10)


if __name__ == "__main__":
    main()
