"""`python -m demo`: everything on loopback, one job to each of four channels, exit 0 only if all four arrived.

Started by `make demo`. `--keep` leaves everything up until Ctrl-C and prints how to use it; `--json` prints one
document for programs on standard output. Ctrl-C, SIGTERM and a closed terminal leave no process behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from demo.alert import Alert, read_alert
from demo.messages import plugin_environment, submissions
from demo.program import StageError
from demo.screen import Screen
from demo.stage import BIN, Stage
from demo.tour import Row, arrived, run_jobs

ALERT = Path(__file__).with_name("alert.json")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Run AIsOpsFlow's main job on this machine.")
    parser.add_argument("--keep", action="store_true", help="leave everything up until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the tour")
    parser.add_argument(
        "--alert", type=Path, default=ALERT, help="an Alertmanager webhook payload (default: the demo's)"
    )
    return parser.parse_args(arguments)


def raise_the_set(stage: Stage, screen: Screen) -> None:
    """Start providers, Core and Runner, showing each step."""
    with screen.step("providers") as said:
        state = stage.start_providers()
        said.append("stand-ins for Slack, Telegram, Kakao (HTTP) and a mail server (SMTP)")
        stage.plugin_env = plugin_environment(state)
    with screen.step("core") as said:
        stage.start_core()
        said.append(f"{stage.url} · SQLite, synchronous=FULL · gRPC on 127.0.0.1:{stage.grpc_port}")
    with screen.step("runner") as said:
        stage.create_runner()
        record = stage.start_runner()
        said.append(f"{stage.runner_id} connected, offers {', '.join(sorted(record['capabilities']))}")


def deliver(
    stage: Stage, alert: Alert, screen: Screen
) -> tuple[list[Row], list[bool], dict[str, list[dict[str, Any]]]]:
    """Submit the four jobs, follow them, and compare what arrived with what was sent."""
    rows = [Row(submission) for submission in submissions(alert, stage.targets)]
    with screen.live(rows, stage.runner_id) as live:
        redraw = (lambda: live.update(screen.table(rows, stage.runner_id))) if live else (lambda: None)
        asyncio.run(run_jobs(stage.url, stage.token, rows, redraw))
    received = stage.received()
    return rows, [arrived(row, alert.text, received) for row in rows], received


def how_to_use(stage: Stage) -> str:
    """Return what to type in a second terminal while the demo stays up."""
    aisops, runner = BIN / "aisops", BIN / "aisops-runner"
    return f"""
Everything stays up until Ctrl-C. In a second terminal:

  export AISOPS_URL={stage.url} AISOPS_TOKEN_FILE={stage.home / "admin-token"}
  {aisops} runner list
  {aisops} job list
  {aisops} job submit slack.send --input '{{"target": "#ops", "text": "hello"}}' --wait
  {runner} status --config {stage.runner_config}

  Logs: {stage.home}/*.log
"""


def tour(stage: Stage, options: argparse.Namespace, screen: Screen) -> int:
    """Tell the whole story; return the exit code."""
    begun = time.monotonic()
    alert = read_alert(options.alert)
    screen.console.print("\n[bold]AIsOpsFlow demo[/]   everything runs on 127.0.0.1; Ctrl-C removes it\n")
    raise_the_set(stage, screen)
    screen.console.print(f"\nAlertmanager says: {alert.headline}. One job to each channel, through Core's API:\n")
    rows, ok, received = deliver(stage, alert, screen)
    screen.console.print("\n[dim]Most of the ms is each plugin's process starting with its first job.[/]")
    screen.received(rows, received, ok)
    if options.json:
        jobs = [{**row.job, "arrived": good} for row, good in zip(rows, ok, strict=True)]
        print(json.dumps({"ok": all(ok), "jobs": jobs, "received": received}, ensure_ascii=False))
    passed = all(ok) and all(row.state == "succeeded" for row in rows)
    verdict = "[green]All four arrived[/]" if passed else f"[red]{ok.count(False)} of {len(ok)} did not arrive[/]"
    screen.console.print(f"\n{verdict} in {time.monotonic() - begun:.1f} s. Logs of this run: {stage.home}")
    if options.keep:
        screen.console.print(how_to_use(stage), markup=False, soft_wrap=True)
        signal.pause()
    return 0 if passed else 1


def leave(_signal: int, _frame: FrameType | None) -> None:
    """Turn a signal into the same orderly way out as Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 when all four messages arrived, 1 when not, 130 when interrupted."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    screen = Screen(stderr=options.json)
    home = Path(tempfile.mkdtemp(prefix="aisops-demo-"))
    try:
        with Stage(home) as stage:
            return tour(stage, options, screen)
    except StageError as error:
        screen.console.print(f"\n[red]The demo stopped:[/] {error}", soft_wrap=True)
        screen.console.print(f"The logs are in {home}")
        return 1
    except KeyboardInterrupt:
        screen.console.print("\nStopped; nothing is left running.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
