"""A mutant: Core acknowledges what it has received and commits it a moment later.

When Core dies in between, the Runner has deleted what Core never had.
"""

from __future__ import annotations

import asyncio
from typing import Any

from after_import import change  # type: ignore[import-not-found]  # it lies beside, on the child's path

LATER_S = 0.3
_under_way: set[asyncio.Task[None]] = set()


def commit_later(module: Any) -> None:
    """Let `deliver` return before anything is stored."""
    honest = module.Reception.deliver

    async def deliver(self: Any, *arguments: Any) -> None:
        async def later() -> None:
            await asyncio.sleep(LATER_S)
            await honest(self, *arguments)

        task = asyncio.ensure_future(later())
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)

    module.Reception.deliver = deliver


change("aisops_core.dispatch.reception", commit_later)
