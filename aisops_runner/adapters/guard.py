"""Hook calls that cannot hurt: timed, and whatever they raise logged and kept to themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

_log = structlog.get_logger("aisops_runner.host")


@dataclass(slots=True)
class HookTiming:
    """How one hook has behaved so far; durations in seconds."""

    calls: int = 0
    failures: int = 0
    total_s: float = 0.0
    slowest_s: float = 0.0


class Guard:
    """Times one hook call, and logs and swallows whatever it raises; cancellation and Ctrl-C pass."""

    def __init__(self, hook: str, name: str, timing: HookTiming, monotonic: Callable[[], float]) -> None:
        self._hook, self._name, self._timing, self._monotonic = hook, name, timing, monotonic
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = self._monotonic()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        spent = self._monotonic() - self._started
        self._timing.calls += 1
        self._timing.total_s += spent
        self._timing.slowest_s = max(self._timing.slowest_s, spent)
        if not isinstance(error, (Exception, SystemExit)):
            return False
        self._timing.failures += 1
        _log.error("hook failed", hook=self._hook, plugin=self._name, exc_info=error)
        return True
