"""`python -m demo.providers --state FILE`: the four stand-ins as one process, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

from demo.providers.control import ControlServer
from demo.providers.host import INPUTS, TARGETS, ProviderHost


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo.providers",
        description="Stand-ins of Slack, Telegram, Kakao AlimTalk and a mail server, on loopback.",
        epilog="example: python -m demo.providers --state /tmp/providers.json --journal /tmp/received.jsonl",
    )
    parser.add_argument("--state", type=Path, required=True, help="JSON file to write: addresses, dummy credentials")
    parser.add_argument("--journal", type=Path, help="file to append each received message to, one JSON line each")
    return parser.parse_args()


def _state(host: ProviderHost, control: ControlServer) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "control_url": control.url,
        "providers": {
            "slack": {"url": host.slack.api_url},
            "telegram": {"url": host.telegram.url},
            "kakao": {"url": host.kakao.url},
            "email": {"host": "127.0.0.1", "port": host.email.port},
        },
        "plugin_env": host.plugin_env(),
        "targets": TARGETS,
        "inputs": INPUTS,
    }


def _write_state(path: Path, state: dict[str, Any]) -> None:
    """Write the whole file at once, readable by its owner only, so that a reader never sees half of it."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(json.dumps(state, ensure_ascii=False, indent=2), encoding="utf-8")
    part.replace(path)


async def _serve(state_file: Path, journal: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    async with ProviderHost(state_file.parent, journal) as host, ControlServer(host) as control:
        _write_state(state_file, _state(host, control))
        print(f"stand-ins are up; addresses and dummy credentials are in {state_file}", flush=True)
        await stop.wait()


def main() -> None:
    """Run until told to stop."""
    arguments = _arguments()
    state_file = arguments.state.resolve()
    try:
        asyncio.run(_serve(state_file, arguments.journal))
    finally:
        state_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
