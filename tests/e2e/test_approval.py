"""A press on an approval's button, from Slack's request to the operator's list, with everything killed in between."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from demo.program import free_port, wait_until
from demo.stage import Stage
from tests.e2e.test_main_job import aisops

SECRET = "slack-signing-secret-1"


def press(port: int, execution: str) -> int:
    """Send what Slack sends for one press; the status, 0 while nobody listens, -1 for an answer out of place."""
    action = {"action_id": "approve", "value": json.dumps({"executionId": execution, "stepId": "s1"})}
    body = urlencode({"payload": json.dumps({"user": {"id": "U1"}, "actions": [action]})}).encode()
    at = str(int(time.time()))
    signed = hmac.new(SECRET.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={signed}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/slack/interactive", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        # Anything but "come again" would be an end that nobody waits for.
        return refused.code if refused.code == 503 and refused.headers["Retry-After"] else -1
    except OSError:
        return 0


def test_an_acknowledged_approval_survives_kills_and_is_listed_once(tmp_path: Path) -> None:
    """Core is down when the person presses; the Runner is killed with SIGKILL right after Slack was answered 200."""
    port = free_port()
    with Stage(tmp_path) as stage:
        stage.plugin_env = {"slack": {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": SECRET}}
        stage.start_core()
        stage.create_runner()
        with stage.runner_config.open("a") as config:
            config.write(f'[plugins.slack]\ninbound = "127.0.0.1:{port}"\n')
        stage.start_runner()
        assert wait_until(lambda: press(port, "before") == 200, "the first press")
        stage.core.kill()
        assert wait_until(lambda: press(port, "away") == 200, "a press while Core is away")
        stage.runner.kill()

        stage.start_core()
        stage.start_runner()
        assert wait_until(lambda: press(port, "away") == 200, "the same press again")
        assert wait_until(lambda: press(port, "after") == 200, "another press")

        def listed() -> list[dict[str, Any]] | None:
            shown = json.loads(aisops(stage, "runner", "events", stage.runner_id, "--limit", "200", "--json").stdout)
            found = [one for one in shown["items"] if one["kind"] == "slack.approval_resolved"]
            return found if len(found) >= 3 else None

        found = wait_until(listed, "the approvals at Core")
    facts = [one["data"] if isinstance(one["data"], dict) else json.loads(one["data"]) for one in found]
    assert sorted(one["facts"]["execution_id"] for one in facts) == ["after", "away", "before"]
    assert {one["facts"]["decision"] for one in facts} == {"approved"}
