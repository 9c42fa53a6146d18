"""A Runner with a wrong clock, from outside: what operators see of it."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from aisops_protocol.messages import Heartbeat, Pong
from tests.support.core_process import BIN, CoreProcess, until
from tests.support.raw_runner import RawRunner

pytestmark = pytest.mark.integration


def aisops(core: CoreProcess, *arguments: str) -> str:
    """What the operator's client prints."""
    environment = {"PATH": "/usr/bin:/bin", "AISOPS_URL": core.http_url, "AISOPS_TOKEN": core.admin_token}
    return subprocess.run(
        [BIN / "aisops", *arguments], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_a_clock_that_is_off_is_shown_and_put_on_record(core: CoreProcess) -> None:
    token = core.create_runner("clocked")

    def clock() -> Any:
        return core.api("GET", "/runners/clocked").json["clock"]

    def metric(level: str) -> bool:
        return f"aisops_core_runner_clocks_{level} 1.0" in core.request("GET", "/metrics").body.decode()

    with RawRunner(core.grpc_port, token, runner_id="clocked") as runner:
        runner.greet()
        assert clock() is None
        for ahead_s, level in ((90, "warning"), (-400, "error"), (0, "ok")):
            for _ in range(2):
                now_ms = round((time.time() + ahead_s) * 1000)
                runner.volatile(Heartbeat(now_ms, free_slots=1))
                pong = runner.receive(Pong)
                assert pong.echo_clock_unix_ms == now_ms
                assert pong.clock_unix_ms == pytest.approx(time.time() * 1000, abs=20_000)
            until(lambda wanted=level: (clock() or {}).get("level") == wanted, f"the clock being {level}")
            assert clock()["skew_s"] == pytest.approx(ahead_s, abs=20)
            if level == "warning":
                assert "s ahead (warning)" in aisops(core, "runner", "list")
                assert metric("warning")
            if level == "error":
                assert "s behind (error)" in aisops(core, "runner", "show", "clocked")
                assert metric("error")
        shown = json.loads(aisops(core, "runner", "events", "clocked", "--json"))
        levels = [event["data"]["level"] for event in shown["items"] if event["kind"] == "clock_skew"]
        assert levels == ["ok", "error", "warning"], "newest first"
