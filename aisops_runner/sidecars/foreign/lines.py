"""The stdio-json protocol as a machine without I/O: octets and requests in, lines and events out. It owns no clock.

One JSON object a line each way. Requests carry an id; answers may come in any order, one for each id. Until the first
answer has come a program may say what it likes (a banner, a warning of its interpreter): those lines are logs. From
then on its output is the protocol's alone, and a line that is no JSON object, or too long, breaks it for good: nobody
could say to which request what follows belongs. Answers that nobody waits for are counted; a hundred of them break it
too.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge

LINE_BYTES: Final = 1024 * 1024
MOST_STRAYS: Final = 100
MOST_FORGOTTEN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a request."""

    identity: str
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """A line that is a log line."""

    line: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The protocol is broken: the program has to be ended. Nothing comes after this."""

    reason: str


Event = Answered | Said | Broken


class StdioMachine:
    """One conversation with one process.

    Args:
        limit_bytes: The longest line, without its end.

    Attributes:
        strays: Answers that nobody waited for.
        started: An answer has come.
        broken: Nothing is read any more.
    """

    def __init__(self, *, limit_bytes: int = LINE_BYTES) -> None:
        self._limit = limit_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._made = 0
        self._open: set[str] = set()
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self.strays = 0
        self.started = False
        self.broken = False

    @property
    def waiting(self) -> frozenset[str]:
        """Requests that have no answer yet."""
        return frozenset(self._open)

    def probe(self) -> tuple[str, bytes]:
        """A question whether it lives: the request's id, and the line to write."""
        identity = self._next()
        return identity, json.dumps({"id": identity, "type": "probe"}, separators=(",", ":")).encode() + b"\n"

    def invoke(self, capability: str, body: bytes) -> tuple[str, bytes]:
        """A call: the request's id, and the line to write.

        Args:
            capability: Its name, as the plugin spells it.
            body: The input, one JSON value on one line.

        Raises:
            ValueError: The line would be longer than one may be; no request was made.
        """
        if len(body) + len(capability) + 256 > self._limit:
            raise ValueError(f"an input of {len(body)} bytes is over the limit of a line")
        identity = self._next()
        head = json.dumps({"id": identity, "type": "invoke", "capability": capability}, separators=(",", ":"))
        return identity, head[:-1].encode() + b',"input":' + body + b"}\n"

    def forget(self, identity: str) -> None:
        """Nobody waits for this answer any more; it may still come, and is nobody's fault."""
        if identity in self._open:
            self._open.remove(identity)
            self._forgotten[identity] = None
            if len(self._forgotten) > MOST_FORGOTTEN:
                self._forgotten.popitem(last=False)

    def receive(self, data: bytes) -> list[Event]:
        """Take what the program wrote; what it means."""
        events: list[Event] = []
        if not self.broken:
            self._buffer += data
        while not self.broken and (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            self._line(line, events)
        self._searched = len(self._buffer)
        if not self.broken and len(self._buffer) > self._limit:
            self._break(f"a line is longer than {self._limit} bytes", events)
        return events

    def finish(self) -> list[Event]:
        """The program writes no more: a last line without an end counts."""
        return self.receive(b"\n") if self._buffer else []

    def _next(self) -> str:
        self._made += 1
        identity = f"r{self._made}"
        self._open.add(identity)
        return identity

    def _line(self, line: bytes, events: list[Event]) -> None:
        if len(line) > self._limit:
            self._break(f"a line is longer than {self._limit} bytes", events)
            return
        line = line.strip()
        if not line:
            return
        document = self._object(line)
        identity = document.get("id") if document is not None else None
        if document is not None and isinstance(identity, str) and identity in self._open:
            self._open.remove(identity)
            self.started = True
            events.append(Answered(identity, document))
        elif isinstance(identity, str) and identity in self._forgotten:
            del self._forgotten[identity]
        elif not self.started:
            events.append(Said(line))
        elif document is None:
            self._break("a line is no JSON object", events)
        else:
            self._stray(line, events)

    def _stray(self, line: bytes, events: list[Event]) -> None:
        self.strays += 1
        events.append(Said(line))
        if self.strays >= MOST_STRAYS:
            self._break(f"{self.strays} answers came that nobody had asked for", events)

    def _break(self, reason: str, events: list[Event]) -> None:
        self.broken = True
        self._buffer.clear()
        events.append(Broken(reason))

    def _object(self, line: bytes) -> dict[str, Any] | None:
        try:
            document = json_strict.loads(line, limit_bytes=self._limit)
        except (JsonRefused, JsonTooLarge):
            return None
        return document if isinstance(document, dict) else None
