"""What a Runner holds in memory with four plugins installed whose sidecars sleep."""

from __future__ import annotations

import time
from pathlib import Path

from bench.run import Run
from bench.table import Line
from bench.usage import usage
from demo.program import wait_until
from demo.stage import Stage

MOST_MIB = 90.0
PLUGINS = ("email", "kakao", "slack", "telegram")
IDLE_STOP_S = 2
WHAT, TARGET = "Runner memory, idle, four sidecars asleep", "≤ 90 MiB"


def idle_runner(run: Run) -> None:
    """Start the Runner with the four channel plugins, wake their sidecars once, let them fall asleep, look."""
    stage = Stage(run.home / "memory", core_options=(*run.authority.core_options, "--http-plaintext"),
                  grpc_scheme="https", runner_lines=run.authority.runner_lines)  # fmt: skip
    run.stack.callback(stage.stop)
    stage.start_core()
    stage.create_runner()
    with stage.runner_config.open("a") as config:
        for plugin in PLUGINS:
            config.write(f"[plugins.{plugin}]\nidle_stop_s = {IDLE_STOP_S}\n")
    stage.start_runner()
    offered = (stage.connected_runner() or {}).get("capabilities", ())
    time.sleep(IDLE_STOP_S)
    wait_until(lambda: not _children(stage.runner.pid), "every sidecar being asleep", 60)
    held = usage(stage.runner.pid).rss_mib
    run.say(f"{WHAT}: {held:.1f} MiB")
    stage.stop()
    how = f"{len(offered)} capabilities of {len(PLUGINS)} plugins, connected over mTLS"
    run.lines.append(Line(WHAT, how, f"{held:.1f} MiB", target=TARGET, met=held <= MOST_MIB, values={"rss_mib": held}))


def _children(pid: int) -> list[int]:
    text = "".join(part.read_text() for part in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for child in text.split()]
