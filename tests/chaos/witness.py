"""A plugin that says what it is told and writes log lines about it: what must arrive at Core is known to the line."""

from __future__ import annotations

from pathlib import Path

from tests.support.installed_plugins import install

CAPABILITY = "witness.say"
LINES = 3
"""So many lines a call writes by default: the job's key, the call's own mark and a number, so that no two are equal."""

SOURCE = f'''
import asyncio, uuid
from pydantic import BaseModel
from aisops_plugin_sdk import Context, Plugin

class Said(BaseModel):
    text: str
    sleep_s: float = 0.0
    lines: int = {LINES}

plugin = Plugin("witness", version="1.0", max_concurrency=16)

@plugin.capability("{CAPABILITY}", effect="idempotent", timeout_s=60)
async def say(ctx: Context, said: Said) -> Said:
    """Wait, write lines with this call's own mark, and answer with the same text."""
    await asyncio.sleep(said.sleep_s)
    call = uuid.uuid4().hex
    for number in range(said.lines):
        ctx.logger.info(f"{{said.text}} {{call}} {{number}}")
    return said
'''


def install_witness(folder: Path) -> None:
    """Install it as a distribution into a folder for PYTHONPATH."""
    folder.mkdir(parents=True, exist_ok=True)
    install(folder, "witness", SOURCE)
