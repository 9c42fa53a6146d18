"""Scripted misbehaviour: which answer a stand-in gives to the next calls instead of its honest one."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """What goes wrong with one call."""

    REFUSE = "refuse"
    RATE_LIMIT = "rate_limit"
    SERVER_ERROR = "server_error"
    DROP_BEFORE_ACCEPT = "drop_before_accept"
    DROP_AFTER_ACCEPT = "drop_after_accept"
    HANG_BEFORE_ACCEPT = "hang_before_accept"
    HANG_AFTER_ACCEPT = "hang_after_accept"


@dataclass(frozen=True, slots=True)
class Fault:
    """One scripted answer.

    Attributes:
        kind: what goes wrong.
        code: the provider's own error for `REFUSE` (Slack's error string, Telegram's description, Kakao's code, a whole
            SMTP reply such as `451 4.3.0 try again`).
        status: HTTP status of `SERVER_ERROR`, or of a Telegram `REFUSE`.
        retry_after_s: seconds named in a `RATE_LIMIT` answer.
        phase: SMTP only: the command concerned, `mail`, `rcpt` or `dot` (the end of the data).
    """

    kind: FaultKind
    code: str = ""
    status: int = 500
    retry_after_s: int = 1
    phase: str = "dot"

    @property
    def drops(self) -> bool:
        """True if the connection is closed without an answer."""
        return self.kind in {FaultKind.DROP_BEFORE_ACCEPT, FaultKind.DROP_AFTER_ACCEPT}

    @property
    def hangs(self) -> bool:
        """True if the call is never answered."""
        return self.kind in {FaultKind.HANG_BEFORE_ACCEPT, FaultKind.HANG_AFTER_ACCEPT}

    @property
    def after_accept(self) -> bool:
        """True if the message is accepted before the call goes wrong."""
        return self.kind in {FaultKind.DROP_AFTER_ACCEPT, FaultKind.HANG_AFTER_ACCEPT}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Fault:
        """Read a fault from JSON, as the control door takes it.

        Raises:
            ValueError: an unknown kind or field, or a value of the wrong type.
        """
        known = {"kind": str, "code": str, "status": int, "retry_after_s": int, "phase": str}
        for name, value in document.items():
            if name not in known or not isinstance(value, known[name]):
                raise ValueError(f"fault field {name!r} is unknown or of the wrong type")
        if "kind" not in document:
            raise ValueError("a fault needs a kind")
        return cls(**{**document, "kind": FaultKind(document["kind"])})


class FaultScript:
    """The queue of scripted answers of one stand-in; empty means honest service."""

    def __init__(self) -> None:
        self._next: deque[Fault] = deque()

    def add(self, *faults: Fault) -> None:
        """Let the next calls, one each, meet these faults."""
        self._next.extend(faults)

    def take(self) -> Fault | None:
        """The fault of the call that just came in, or None for honest service."""
        return self._next.popleft() if self._next else None

    def peek(self) -> Fault | None:
        """The fault that the next call will meet, left in place."""
        return self._next[0] if self._next else None

    def clear(self) -> None:
        """Forget what is still scripted."""
        self._next.clear()
