"""`python -m tests.support.small_runner [FAULT]`, started by the delivery-conformance kit, which tells it the rest."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from aisops_protocol.session import Identity
from tests.support.small_runner.faults import Fault
from tests.support.small_runner.link import Link
from tests.support.small_runner.store import Store


async def main(fault: Fault) -> None:
    given = {name: os.environ[f"AISOPS_CONFORMANCE_{name.upper()}"] for name in
             ("host", "port", "tenant", "runner", "token_file", "data")}  # fmt: skip
    store = Store(Path(given["data"]), fault)
    identity = Identity(given["tenant"], given["runner"])
    most = int(os.environ.get("SMALL_RUNNER_HOLDS", "0"))
    link = Link(store, identity, f"{given['host']}:{given['port']}", Path(given["token_file"]), fault, most)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, link.stop)
    link.work.restore()
    await link.run()


if __name__ == "__main__":
    asyncio.run(main(Fault(sys.argv[1] if len(sys.argv) > 1 else "none")))
