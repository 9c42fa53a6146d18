"""Throw-away vendor plugins: one that works, and one for every way a plugin can be bad.

They are installed as real distributions (module and dist-info) in a folder on PYTHONPATH, so that discovery, `describe`
and `serve` meet them as they would meet a vendor's package.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.support.installed_plugins import install

GOOD = '''
import asyncio, os, sys, time
from pydantic import BaseModel
from aisops_plugin_sdk import Plugin, Context

class In(BaseModel):
    text: str = ""
    sleep_s: float = 0.0

class Out(BaseModel):
    text: str
    pid: int
    env: list[str] = []

plugin = Plugin("NAME", version="1.0", max_concurrency=2)

@plugin.capability("NAME.echo", effect="idempotent", timeout_s=20)
async def echo(ctx: Context, msg: In) -> Out:
    """Answer with the same text."""
    ctx.logger.info("echo", extra={})
    await asyncio.sleep(msg.sleep_s)
    return Out(text=msg.text, pid=os.getpid(), env=sorted(os.environ))

@plugin.capability("NAME.crash", effect="at_most_once", timeout_s=20)
async def crash(ctx: Context, msg: In) -> Out:
    """End the process at once."""
    os._exit(3)

@plugin.capability("NAME.flood", effect="idempotent", timeout_s=20)
async def flood(ctx: Context, msg: In) -> Out:
    """Write 32 MiB to both outputs."""
    chunk = (b"x" * 99 + b"\\n") * 10_000
    for _ in range(16):
        await asyncio.to_thread(os.write, 1, chunk[:65536])
        for fd in (1, 2):
            left = chunk
            while left:
                left = left[await asyncio.to_thread(os.write, fd, left):]
    return Out(text="done", pid=os.getpid())
'''

RAISES = "raise RuntimeError('no licence found')\n"
EXITS = "raise SystemExit(0)\n"
ASSERTS = "assert False, 'wrong platform'\n"
HANGS = "import time\nprint('connecting to the vendor', flush=True)\ntime.sleep(3600)\n"
KILLS_ITSELF = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
NOT_A_PLUGIN = "plugin = 42\n"
FLOODS_DESCRIBE = "import os, sys\nwhile True:\n    os.write(2, b'y' * 65536)\n"

SOURCES: Mapping[str, str] = {
    "good": GOOD,
    "raises": RAISES,
    "exits": EXITS,
    "asserts": ASSERTS,
    "hangs": HANGS,
    "kills-itself": KILLS_ITSELF,
    "not-a-plugin": NOT_A_PLUGIN,
    "floods": FLOODS_DESCRIBE,
}


def install_vendor(folder: Path, *names: str) -> dict[str, str]:
    """Install some of `SOURCES` (or further copies of the good one) and return the PYTHONPATH that finds them."""
    for name in names:
        source = SOURCES.get(name, GOOD)
        install(folder, name, source.replace("NAME", name), distribution=f"vendor-{name}")
    return {"PYTHONPATH": str(folder)}
