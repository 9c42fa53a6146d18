"""Core's composition root: the only place that knows every part, and the order in which they start and stop."""

from __future__ import annotations

from aisops_core.app.administration import Administration, administer, upgrade_database
from aisops_core.app.compose import Core, build

__all__ = ["Administration", "Core", "administer", "build", "upgrade_database"]
