"""How long to wait between attempts: exponential with full jitter. Pure: chance is passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def ceiling_s(attempt: int, *, first_s: float = 1.0, cap_s: float = 60.0) -> float:
    """Longest wait before the given attempt.

    Args:
        attempt: 0 for the first wait, 1 for the second…
        first_s: Ceiling of the first wait, in seconds.
        cap_s: No wait is longer than this, in seconds.

    Returns:
        `first_s * 2 ** attempt`, at most `cap_s`; in seconds.
    """
    doublings = min(max(attempt, 0), 62)  # beyond this the cap rules, and floats stay finite
    return min(cap_s, first_s * float(2**doublings))


def full_jitter_s(
    attempt: int, draw: float, *, first_s: float = 1.0, cap_s: float = 60.0, floor_s: float = 0.0
) -> float:
    """One wait, spread over the whole range so that a fleet does not come back in step.

    Args:
        attempt: 0 for the first wait.
        draw: A random number in [0, 1).
        first_s: Ceiling of the first wait, in seconds.
        cap_s: Ceiling of every wait, in seconds.
        floor_s: Never wait less than this, in seconds.

    Returns:
        Seconds to wait.
    """
    top = ceiling_s(attempt, first_s=first_s, cap_s=cap_s)
    return max(floor_s, top * draw)


def delays(draw: Callable[[], float], *, first_s: float = 1.0, cap_s: float = 60.0) -> Iterator[float]:
    """Endless waits, in seconds: the n-th is uniform in [0, min(cap_s, first_s * 2**n)].

    Args:
        draw: Returns a random number in [0, 1); `random.random` in production.
        first_s: Ceiling of the first wait, in seconds.
        cap_s: Ceiling of every wait, in seconds.
    """
    attempt = 0
    while True:
        yield full_jitter_s(attempt, draw(), first_s=first_s, cap_s=cap_s)
        attempt += 1
