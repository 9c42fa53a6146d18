"""`aisops`: the operator's client of Core's HTTP API. Starts fast: it imports what the command at hand needs."""

from __future__ import annotations

from aisops_core.cli.operator.root import main

__all__ = ["main"]
