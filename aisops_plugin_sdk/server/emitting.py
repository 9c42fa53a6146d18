"""Takes events from plugin code: checked, redacted, limited in their rate, and handed to whoever carries them."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from aisops_plugin_sdk.events import EVENT_BURST, EVENTS_PER_S, Allowance, EventSink, build_event
from aisops_plugin_sdk.logs import LogRecord, LogSink


class Emitter:
    """The events of one plugin; safe to use from threads.

    Args:
        plugin: its name.
        carry: takes events on their way to the Runner.
        sink: told, once per second at most, that events were dropped.
        clock: unix seconds, for the event's time.
        monotonic: seconds, for the rate.
    """

    def __init__(
        self,
        plugin: str,
        carry: EventSink,
        *,
        sink: LogSink,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plugin = plugin
        self._carry = carry
        self._sink = sink
        self._clock = clock
        self._monotonic = monotonic
        self._allowance = Allowance()
        self._complaints = Allowance(per_s=1.0, burst=1)
        self._dropped = 0
        self._lock = threading.Lock()
        self.redact: Callable[[str], str] = lambda text: text

    def emit(self, kind: str, facts: Mapping[str, Any], job_id: str) -> bool:
        """Send one event on its way; False when it was dropped because there are too many.

        Raises:
            ValueError: it is no event of this plugin; see `build_event`.
        """
        time_ms = round(self._clock() * 1000)
        event = build_event(self._plugin, kind, facts, job_id=job_id, time_ms=time_ms, redact=self.redact)
        now = self._monotonic()
        with self._lock:
            allowed = self._allowance.take(now)
        if allowed and self._carry(event):
            return True
        self._complain(now)
        return False

    def _complain(self, now: float) -> None:
        with self._lock:
            self._dropped += 1
            dropped, due = self._dropped, self._complaints.take(now)
            if due:
                self._dropped = 0
        if due:
            text = (
                f"{dropped} events were dropped: a plugin may emit {EVENT_BURST} at once and {EVENTS_PER_S:g} a second"
            )
            self._sink(LogRecord("warning", text))
