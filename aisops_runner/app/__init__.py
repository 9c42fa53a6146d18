"""The Runner's composition root: the only place that knows every part, and the life they lead together."""

from __future__ import annotations

from aisops_runner.app.compose import build
from aisops_runner.app.life import Runner

__all__ = ["Runner", "build"]
