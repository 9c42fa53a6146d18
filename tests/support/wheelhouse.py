"""A wheelhouse as a customer's machine without network gets it: the SDK, what it needs, and a vendor's own plugin."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[build-system]
requires = ["hatchling>=1.27,<2"]
build-backend = "hatchling.build"

[project]
name = "acme-chat-plugin"
version = "{version}"
requires-python = ">=3.11"
dependencies = ["aisops-plugin-sdk>=0.1,<1"]

[project.entry-points."aisops.plugins"]
acme-chat = "acme_chat:plugin"

[tool.hatch.build.targets.wheel]
include = ["acme_chat.py"]
"""
SOURCE = '''
import asyncio, os
from pydantic import BaseModel
from aisops_plugin_sdk import Config, Context, Plugin, Secret
from pydantic import Field

class Settings(Config):
    token: Secret = Field(alias="ACME_TOKEN")

class In(BaseModel):
    text: str = ""
    until_exists: str = ""

class Out(BaseModel):
    version: str
    text: str
    sdk: str

plugin = Plugin("acme-chat", version="{version}", config=Settings)

@plugin.capability("acme.echo", effect="idempotent", timeout_s=120)
async def echo(ctx: Context, msg: In) -> Out:
    """Answer with the text and this version, once a file exists."""
    import aisops_plugin_sdk
    ctx.logger.info("echo from {version} with " + ctx.config.token.reveal())
    if msg.until_exists:
        with open(msg.until_exists + ".begun", "w") as file:
            file.write("{version}")
        while not os.path.exists(msg.until_exists):
            await asyncio.sleep(0.02)
    import acme_late  # from the files of this version, also after another one was installed
    return Out(version=acme_late.VERSION, text=msg.text, sdk=aisops_plugin_sdk.__file__)
'''


class NoIndex(Exception):
    """The packages that the SDK needs cannot be had here."""


def build(project: Path, target: Path) -> None:
    """Build a project's wheel with its own build tool."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


def build_acme(folder: Path, target: Path, version: str) -> None:
    """Write a vendor's project and build its wheel."""
    project = folder / f"acme-{version}"
    project.mkdir(parents=True)
    text = PYPROJECT.replace("{version}", version).replace('["acme_chat.py"]', '["acme_chat.py", "acme_late.py"]')
    (project / "pyproject.toml").write_text(text)
    (project / "acme_chat.py").write_text(SOURCE.replace("{version}", version))
    (project / "acme_late.py").write_text(f"VERSION = {version!r}\n")
    build(project, target)


def fill(house: Path) -> None:
    """Put the SDK's wheel and those of all it needs into a folder.

    Raises:
        NoIndex: There is no package index within reach.
    """
    build(ROOT / "aisops_plugin_sdk", house)
    project = tomllib.loads((ROOT / "aisops_plugin_sdk" / "pyproject.toml").read_text())["project"]
    needs: Sequence[str] = project["dependencies"]
    command = [sys.executable, "-m", "pip", "-q", "download", "--only-binary", ":all:", "-d", str(house), *needs]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NoIndex(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip download failed")
