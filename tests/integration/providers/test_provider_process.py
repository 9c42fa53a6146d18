"""`python -m demo.providers` starts all four, says where, tells what it received and leaves on SIGTERM."""

import asyncio
import json
import os
import signal
import stat
import sys
from pathlib import Path

import aiohttp
import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[3]


async def test_the_process_serves_tells_and_leaves(tmp_path):
    state_file, journal = tmp_path / "providers.json", tmp_path / "received.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo.providers", "--state", state_file, "--journal", journal,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert b"stand-ins are up" in await asyncio.wait_for(process.stdout.readline(), 20)
        state = json.loads(state_file.read_text())
        assert stat.S_IMODE(state_file.stat().st_mode) == 0o600
        assert set(state["plugin_env"]) == {"slack", "email", "telegram", "kakao"}
        async with aiohttp.ClientSession() as http:
            await check_received(http, state, journal)
            await check_faults(http, state)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        await process.stdout.read()
    assert not state_file.exists()


async def post_to_slack(http, state):
    env = state["plugin_env"]["slack"]
    headers = {"Authorization": f"Bearer {env['SLACK_BOT_TOKEN']}"}
    body = {"channel": state["targets"]["slack.send"], "text": "알림"}
    async with http.post(env["SLACK_API_BASE_URL"] + "chat.postMessage", json=body, headers=headers) as answer:
        return await answer.json()


async def check_received(http, state, journal):
    assert (await post_to_slack(http, state))["ok"]
    async with http.get(state["control_url"] + "/received") as answer:
        assert (await answer.json())["slack"][0]["text"] == "알림"
    for text, found in (("알", 1), ("other", 0)):
        async with http.get(state["control_url"] + "/received", params={"text": text}) as answer:
            assert len((await answer.json())["slack"]) == found
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [(line["provider"], line["text"]) for line in lines] == [("slack", "알림")]


async def check_faults(http, state):
    control = state["control_url"]
    async with http.post(control + "/faults/slack", json=[{"kind": "refuse", "code": "is_archived"}]) as answer:
        assert answer.status == 200
    assert (await post_to_slack(http, state))["error"] == "is_archived"
    for path, body in (
        ("nobody", []),
        ("slack", [{"kind": "nonsense"}]),
        ("slack", [{"kind": "refuse", "x": 1}]),
        ("slack", 5),
    ):
        async with http.post(f"{control}/faults/{path}", json=body) as answer:
            assert answer.status == 400, body
    async with http.get(control + "/counts") as answer:
        assert (await answer.json())["slack"] == {"calls": 2, "received": 1}
