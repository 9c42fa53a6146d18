"""A throw-away Python environment: everything of this one, plus one plugin that does nothing, found by entry point.

The benchmark's plugin must be installed for real (the Runner finds plugins by their metadata and never imports them),
but it has no place in a developer's own environment.
"""

from __future__ import annotations

import site
import venv
from pathlib import Path

NOOP = '''
"""A plugin whose only capability answers at once: what is left is the cost of the path."""
from aisops_plugin_sdk import Context, Plugin
from pydantic import BaseModel

plugin = Plugin("noop", version="1.0", max_concurrency=512)


class Ping(BaseModel):
    """What comes in."""

    text: str


class Pong(BaseModel):
    """What goes out."""

    text: str


@plugin.capability("noop.echo", effect="idempotent", timeout_s=30)
async def echo(ctx: Context, ping: Ping) -> Pong:
    """Answer with the same text."""
    return Pong(text=ping.text)
'''
METADATA = "Metadata-Version: 2.1\nName: aisops-plugin-noop\nVersion: 1.0\n"
ENTRY_POINT = "[aisops.plugins]\nnoop = aisops_plugin_noop:plugin\n"


def build_overlay(folder: Path) -> Path:
    """Create the environment in `folder`; return its Python."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    packages = next((folder / "lib").glob("python3*")) / "site-packages"
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (packages / "beneath.pth").write_text("\n".join(lines) + "\n")
    (packages / "aisops_plugin_noop.py").write_text(NOOP)
    info = packages / "aisops_plugin_noop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINT)
    (info / "RECORD").write_text("aisops_plugin_noop.py,,\n")
    return folder / "bin" / "python"
