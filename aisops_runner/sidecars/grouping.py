"""Which calls go together in one batch. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import from_json

from aisops_plugin_sdk import batch
from aisops_runner.sidecars.admission import Place

_FACTS_BYTES = 2048
"""More than the members of a call beside its input can take."""


def groups(places: Sequence[Place], *, together: bool) -> list[list[Place]]:
    """Split calls into batches and single calls (groups of one).

    An input with a line feed would break the lines of a batch, and one that is no JSON could be read as more than an
    input: such calls go alone, and the sidecar refuses what is wrong with them.

    Args:
        places: Calls, in order.
        together: The sidecar takes batches.
    """
    if not together or len(places) == 1:
        return [[place] for place in places]
    made: list[list[Place]] = []
    group: list[Place] = []
    size = 0
    for place in places:
        body = place.call.input
        if not is_line(body):
            made.append([place])
            continue
        cost = len(body) + _FACTS_BYTES
        if group and (size + cost > batch.MAX_BYTES or len(group) == batch.MAX_CALLS):
            made.append(group)
            group, size = [], 0
        group.append(place)
        size += cost
    if group:
        made.append(group)
    return made


def is_line(body: bytes) -> bool:
    """Whether an input is one JSON value on one line."""
    if b"\n" in body or b"\r" in body:
        return False
    try:
        from_json(body)
    except ValueError:
        return False
    return True
