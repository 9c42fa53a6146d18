"""Remembers calls by their Idempotency-Key, so that a repetition gets the first answer. Pure: time is passed in."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from aisops_plugin_sdk.errors import Conflict

LIFETIME_S = 600.0
T = TypeVar("T")
Key = tuple[str, str, str]


@dataclass(slots=True)
class _Entry(Generic[T]):
    """One remembered call. `expires_at` is None while it runs."""

    fingerprint: bytes
    call: T
    size: int = 0
    expires_at: float | None = None


class ReplayMemory(Generic[T]):
    """Calls in flight and finished ones of the last ten minutes, bounded in number and in bytes.

    Args:
        max_entries: finished calls kept at most.
        max_bytes: size of their answers at most, in bytes.
    """

    def __init__(self, *, max_entries: int = 4096, max_bytes: int = 16 * 1024 * 1024) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._running: dict[Key, _Entry[T]] = {}
        self._finished: OrderedDict[Key, _Entry[T]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._running) + len(self._finished)

    def find(self, key: Key, fingerprint: bytes, now: float) -> T | None:
        """Return the call that this one repeats, or None. `now` is monotonic seconds.

        Raises:
            Conflict: the key was used for another body.
        """
        self._expire(now)
        entry = self._running.get(key) or self._finished.get(key)
        if entry is None:
            return None
        if entry.fingerprint != fingerprint:
            raise Conflict("this Idempotency-Key was used with another body", code="idempotency_mismatch")
        return entry.call

    def begin(self, key: Key, fingerprint: bytes, call: T) -> None:
        """Remember a call that starts."""
        self._running[key] = _Entry(fingerprint, call)

    def finish(self, key: Key, *, size: int, keep: bool, now: float) -> None:
        """Note that a call ended. `keep` its answer (of `size` bytes) for ten minutes, or forget the call."""
        entry = self._running.pop(key, None)
        if entry is None or not keep:
            return
        entry.size, entry.expires_at = size, now + LIFETIME_S
        self._finished[key] = entry
        self._bytes += size
        while self._finished and (len(self._finished) > self._max_entries or self._bytes > self._max_bytes):
            self._drop_oldest()

    def _expire(self, now: float) -> None:
        """Forget what is older than its lifetime; the oldest stand first."""
        while self._finished:
            expires_at = next(iter(self._finished.values())).expires_at
            if expires_at is None or expires_at > now:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Forget the call that finished first."""
        _, entry = self._finished.popitem(last=False)
        self._bytes -= entry.size
