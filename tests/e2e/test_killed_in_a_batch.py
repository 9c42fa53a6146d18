"""A sidecar killed with -9 while several calls of one batch are under way: each job ends once, as its class says."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.program import get_json, post_json, wait_until
from demo.stage import Stage
from tests.support.installed_plugins import install

SOURCE = '''
import asyncio, os
from pathlib import Path
from pydantic import BaseModel
from aisops_plugin_sdk import Context, Plugin
from aisops_plugin_sdk.server import sidecar

class Said(BaseModel):
    text: str
    wait: bool = False

plugin = Plugin("teller", version="1.0", max_concurrency=16)
read_calls = sidecar.read_calls

def note(name, text):
    with open(name, "a") as file:
        file.write(text + "\\n")

def counted(body):
    calls = read_calls(body)
    note("batches", str(len(calls)))
    return calls

sidecar.read_calls = counted

async def tell(said):
    note("effects", said.text)
    while said.wait and not Path("gate").exists():
        await asyncio.sleep(0.02)
    return said

@plugin.capability("teller.once", effect="at_most_once", timeout_s=60)
async def once(ctx: Context, said: Said) -> Said:
    """Say it; whoever says it twice is heard twice."""
    return await tell(said)

@plugin.capability("teller.again", effect="idempotent", timeout_s=60)
async def again(ctx: Context, said: Said) -> Said:
    """Say it; a second time does no harm."""
    return await tell(said)
'''
QUICK = [("teller.again", "quick-0"), ("teller.once", "quick-1")]
ONCE = [("teller.once", f"once-{number}") for number in range(4)]
AGAIN = [("teller.again", f"again-{number}") for number in range(4)]


@pytest.fixture
def teller(tmp_path: Path) -> Iterator[Stage]:
    """Core and a Runner whose only plugin with work is the teller."""
    site = tmp_path / "site"
    site.mkdir()
    install(site, "teller", SOURCE)
    with Stage(tmp_path / "stage", runner_environment={"PYTHONPATH": str(site)}) as stage:
        stage.start_core()
        stage.create_runner()
        stage.start_runner()
        yield stage


def submit(stage: Stage, wanted: list[tuple[str, str, bool]]) -> dict[str, str]:
    """Submit many jobs at once: capability, text, and whether the call is to wait; returns text to id."""
    jobs = [{"capability": name, "input": {"text": text, "wait": wait}} for name, text, wait in wanted]
    answer = post_json(f"{stage.url}/api/v1/jobs/batch", {"jobs": jobs}, stage.token)
    return {text: item["job"]["id"] for (_, text, _), item in zip(wanted, answer["items"], strict=True)}


def job(stage: Stage, job_id: str) -> dict[str, Any]:
    return dict(get_json(f"{stage.url}/api/v1/jobs/{job_id}", stage.token) or {"state": "unknown"})


def states(stage: Stage, ids: dict[str, str]) -> dict[str, str]:
    return {text: job(stage, job_id)["state"] for text, job_id in ids.items()}


def test_a_sidecar_killed_in_the_middle_of_a_batch_ends_each_job_once(teller: Stage) -> None:
    home = teller.home / "runner" / "plugins" / "home" / "teller"
    run = teller.home / "runner" / "plugins" / "run" / "teller.json"

    def effects() -> Counter[str]:
        return Counter((home / "effects").read_text().split())

    warm = submit(teller, [("teller.again", "warm", False)])
    wait_until(lambda: states(teller, warm) == {"warm": "succeeded"}, "the sidecar being up")
    wanted = [(name, text, text.startswith(("once", "again"))) for name, text in (*QUICK, *ONCE, *AGAIN)]
    ids = submit(teller, wanted)
    wait_until(lambda: set(effects()) >= set(ids), "every call being under way")
    before = {text: ids[text] for _, text in QUICK}
    wait_until(lambda: set(states(teller, before).values()) == {"succeeded"}, "results streamed before the kill")
    assert max(map(int, (home / "batches").read_text().split())) >= 4, "several calls were under way in one batch"

    os.kill(int(json.loads(run.read_text())["pid"]), signal.SIGKILL)
    (home / "gate").touch()  # so that calls of the next process do not wait
    wait_until(lambda: not {"queued", "leased", "running"} & set(states(teller, ids).values()), "every job's end", 60)

    found, counts = states(teller, ids), effects()
    assert {found[text] for _, text in QUICK} == {"succeeded"}
    assert {found[text] for _, text in ONCE} == {"uncertain"}
    assert {found[text] for _, text in AGAIN} == {"succeeded"}
    assert {counts[text] for _, text in (*QUICK, *ONCE)} == {1}, "nothing at-most-once was said twice"
    assert {counts[text] for _, text in AGAIN} == {2}, "what may be repeated was"
    outputs = {text: job(teller, ids[text])["output"]["text"] for _, text in (*QUICK, *AGAIN)}
    assert outputs == {text: text for text in outputs}
