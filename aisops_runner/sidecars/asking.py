"""When a plugin that could not describe itself is asked again, and with how much patience. Pure.

A busy machine (a start with everything else, a slow disk) is no fault of the plugin: what may pass by itself is asked
again for as long as the Runner runs. An import that fails, or a wrong manifest, stays as it is until the next start.
"""

from __future__ import annotations

from typing import Final

from aisops_runner.backoff import ceiling_s

FIRST_S: Final = 5.0
CAP_S: Final = 300.0
MOST_PATIENCE_S: Final = 120.0
_PASSING: Final = frozenset({"describe_timeout", "describe_failed"})


def may_pass(code: str) -> bool:
    """Whether a reason for being broken may pass by itself: no answer in time, or a process that was ended."""
    return code in _PASSING


def pause_s(times: int, *, first_s: float = FIRST_S) -> float:
    """Seconds until the next asking, after it was asked again so many times."""
    return ceiling_s(times, first_s=first_s, cap_s=CAP_S)


def patience_s(timeout_s: float, times: int) -> float:
    """Seconds for the answer: twice as many each time, up to two minutes (or what is configured, when that is more)."""
    return ceiling_s(times + 1, first_s=timeout_s, cap_s=max(timeout_s, MOST_PATIENCE_S))
