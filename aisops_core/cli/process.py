"""What a Core that serves thousands of streams asks of its own process, before anything heavy is imported."""

from __future__ import annotations

import ctypes
import gc
import resource
from typing import Final

YOUNG: Final = 50_000
"""Objects made and not freed before the youngest are looked through for cycles; Python's own value is 700."""
_M_ARENA_MAX: Final = -8
ARENAS: Final = 1
"""Pools of the C allocator. Each of gRPC's threads would otherwise keep one, with what its connections once needed."""


def raise_file_limit() -> int:
    """Let the process have as many open files as it may, for every stream is one; returns how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def share_memory_pools() -> bool:
    """Have all threads allocate from few pools; False where the C library knows no such thing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_ARENA_MAX, ARENAS) == 1


def calm_collector() -> None:
    """Look for cycles seldom, and never among what was made until now.

    Core makes next to none. Looking cost a tenth of its time under load, and with ten thousand sessions, all of which
    were gone through again and again, a fifth of it when nothing happened and half a second at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)


def return_memory() -> None:
    """Give back to the system what starting needed and nothing else does, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
