"""Events of a plugin: what it wants Core to know, as the contract's line. Pure; the time is passed in.

An event is `<plugin>.<word>` and a small JSON object. The Runner reads the line from the sidecar's stdout and keeps the
event in its outbox until Core has it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aisops_plugin_sdk.logs import cut

FACTS_BYTES = 16 * 1024
EVENTS_PER_S = 10.0
EVENT_BURST = 100
MAX_DEPTH = 16
LINE_START = b'{"event":1,'
"""How the line begins, to the octet: a reader finds it among many lines without reading them."""
RESERVED = frozenset({"core", "outbox", "plugin", "runner", "sidecar"})
"""First words of the Runner's own events; a plugin of such a name has none."""
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event. `job_id` is empty when it belongs to no job; `time_ms` is unix milliseconds."""

    kind: str
    facts: dict[str, Any]
    job_id: str = ""
    time_ms: int = 0


EventSink = Callable[[EventRecord], bool]
"""Takes an event on its way; False when it had to be dropped."""


class Allowance:
    """How many of something may happen: a burst, refilled at a steady rate. Times in seconds, from any one clock."""

    def __init__(self, *, per_s: float = EVENTS_PER_S, burst: int = EVENT_BURST) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._left = self._burst
        self._at: float | None = None

    def left(self, now: float) -> int:
        """How many may happen now."""
        if self._at is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        return int(self._left)

    def take(self, now: float) -> bool:
        """Use one, if there is one."""
        if self.left(now) < 1:
            return False
        self._left -= 1
        return True


def belongs(kind: str, plugin: str) -> bool:
    """Whether a kind reads `<plugin>.<word>` for this plugin."""
    owner, _, word = kind.rpartition(".")
    return owner == plugin and plugin not in RESERVED and _WORD.fullmatch(word) is not None


def build_event(
    plugin: str, kind: str, facts: Mapping[str, Any], *, job_id: str, time_ms: int, redact: Callable[[str], str]
) -> EventRecord:
    """Check an author's event and take the secrets out of it.

    Raises:
        ValueError: the kind is not `<plugin>.<word>`, or the facts are no JSON object of at most 16 KiB and 16 levels.
    """
    if not belongs(kind, plugin):
        raise ValueError(f"event kind {kind!r} must read {plugin}.<word>, the word in lower case")
    cleaned = clean(facts, redact)
    try:
        size = len(json.dumps(cleaned, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise ValueError(f"the facts of {kind} are not JSON: {error}") from None
    if size > FACTS_BYTES or not isinstance(cleaned, dict):
        raise ValueError(f"the facts of {kind} must be an object of at most {FACTS_BYTES} bytes, not {size}")
    return EventRecord(kind, cleaned, job_id, time_ms)


def clean(value: Any, redact: Callable[[str], str], depth: int = 0) -> Any:
    """Copy a JSON value with secrets and control characters taken out of every text.

    Raises:
        ValueError: it is deeper than 16 levels.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        return cut(redact(value), FACTS_BYTES)
    if isinstance(value, Mapping):
        return {cut(redact(str(key)), 128): clean(item, redact, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item, redact, depth + 1) for item in value]
    return value


def to_document(event: EventRecord) -> dict[str, Any]:
    """Write an event as the contract's line; its first member stays first."""
    return {
        "event": 1,
        "kind": event.kind,
        "job_id": event.job_id,
        "time_ms": event.time_ms,
        "facts": event.facts,
    }
