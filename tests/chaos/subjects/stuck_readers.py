"""Runners that greet Core and then never read again: `python -m tests.chaos.subjects.stuck_readers PORT TENANT`.

Reads `{runner_id: token}` as one JSON line, greets with every one of them, prints `greeted`, and from then on only
sends heartbeats, until it is killed. Whoever stops this process (SIGSTOP) has Runners that do not even do that.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from itertools import repeat

from aisops_protocol.messages import Capability, EffectClass, Heartbeat, Welcome
from tests.support.raw_runner import RawRunner, build_hello

BEAT_S = 2.0
SLOTS = 8
LIFE_S = 600.0
CAPABILITY = Capability("stuck.take", "stuck", "1.0", EffectClass.IDEMPOTENT, 60_000, b"{}")


def main(port: int, tenant_id: str) -> None:
    """Greet, and beat until killed; a stream that Core ends is simply gone."""
    tokens: dict[str, str] = json.loads(sys.stdin.readline())
    runners = [RawRunner(port, token, tenant_id, name, LIFE_S) for name, token in tokens.items()]
    for runner in runners:
        runner.volatile(replace(build_hello(CAPABILITY), job_slots=SLOTS))
        runner.session_id = runner.receive(Welcome).session_id
    print("greeted", flush=True)
    for _ in repeat(None):
        time.sleep(BEAT_S)
        for runner in runners:
            runner.volatile(Heartbeat(time.time_ns() // 1_000_000, free_slots=SLOTS))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
