"""The two answers of a sidecar: a whole one for a single call, and the lines of a batch as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from aisops_plugin_sdk import batch
from aisops_runner.adapters.calls import Call, CallError
from aisops_runner.sidecars.answers import ANSWER_BYTES, DIED, bad_answer, read_answer, unanswered
from aisops_runner.sidecars.http import EndedEarly, NotHttp, Reply

Answered = tuple[Call, bytes | CallError]
Ended = Callable[[Sequence[Answered]], None]
LINE_BYTES = ANSWER_BYTES + 512
NO_BATCHES: Final = CallError("no_batches", "the sidecar takes no batches", retryable=True)
"""Told of every call, this very object, when a sidecar does not know batches although it says so: none has begun."""
_UNKNOWN: Final = frozenset({404, 405, 501})
_JSON = "application/json"


class WholeReply(Reply):
    """One answer, whole, within a size and a time.

    Args:
        limit_bytes: Largest body.
        timeout_s: Seconds from `begin` until it must be complete.
        told: Gets this reply and, when it is not complete, why.

    Attributes:
        content: The body.
    """

    def __init__(
        self, limit_bytes: int, timeout_s: float, told: Callable[[WholeReply, Exception | None], None]
    ) -> None:
        super().__init__()
        self.content = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._told = told
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Time runs from here."""
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._late)

    def refuse(self, failure: Exception) -> None:
        """It is not sent at all; told soon."""
        asyncio.get_running_loop().call_soon(self.finish, failure)

    def headed(self) -> None:
        """Refuse redirects, compression, and what says that it is too large."""
        check_head(self)
        if self.length is not None and self.length > self._limit_bytes:
            raise NotHttp(f"{self.length} bytes, more than {self._limit_bytes}", self.status)

    def body(self, part: bytes) -> None:
        """Take a part.

        Raises:
            NotHttp: More than the limit.
        """
        self._size += len(part)
        if self._size > self._limit_bytes:
            raise NotHttp(f"more than {self._limit_bytes} bytes", self.status)
        self._parts.append(part)

    def done(self, failure: Exception | None) -> None:
        """Tell."""
        self._disarm()
        self.content = b"".join(self._parts)
        self._told(self, failure)

    def abandon(self) -> None:
        """Nobody waits any more."""
        self._disarm()
        super().abandon()

    def _late(self) -> None:
        ended, self.ended = self.ended, True
        if self.connection is not None:
            self.connection.drop()
        self.ended = ended
        self.finish(TimeoutError())

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class BatchReply(Reply):
    """The lines of a batch: each ends its call when it comes, whatever becomes of the others.

    Args:
        calls: The calls, each with its seconds; their ids in the batch are their places here.
        ended: Told results and errors as they come.
    """

    def __init__(self, calls: Sequence[tuple[Call, float]], ended: Ended) -> None:
        super().__init__()
        now = asyncio.get_running_loop().time()
        self._open = {str(number): (call, timeout_s, now + timeout_s) for number, (call, timeout_s) in enumerate(calls)}
        self._ended = ended
        self._buffer = bytearray()
        self._skipping = False
        self._streams = False
        self._answered: list[Answered] = []
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Time runs from here."""
        self._arm()

    def refuse(self, failure: Exception) -> None:
        """It is not sent at all; told soon."""
        asyncio.get_running_loop().call_soon(self.finish, failure)

    def give_up(self, call: Call) -> None:
        """Nobody waits for this call any more; the others go on."""
        for identity, (held, _, _) in self._open.items():
            if held is call:
                del self._open[identity]
                break
        if not self._open:
            self.abandon()

    def headed(self) -> None:
        """Lines come with status 200; anything else is one answer to all calls (or says that there are no batches)."""
        check_head(self)
        self._streams = self.status == 200 and self.content_type == batch.CONTENT_TYPE

    def body(self, part: bytes) -> None:
        """Take lines as they come.

        Raises:
            NotHttp: A line is no answer of a batch.
        """
        self._buffer += part
        if not self._streams:
            if len(self._buffer) > ANSWER_BYTES:
                raise NotHttp(f"more than {ANSWER_BYTES} bytes", self.status)
            return
        # Only what has just come is searched: an answer may come an octet at a time.
        for line in batch.take_lines(self._buffer) if b"\n" in part else ():
            if self._skipping:
                self._skipping = False
            elif line.strip():
                self._take(line)
        if len(self._buffer) > LINE_BYTES and not self._skipping:
            self._too_long()
        if self._skipping:
            self._buffer.clear()
        self._tell()

    def done(self, failure: Exception | None) -> None:
        """End the calls that were not answered; the last line of a whole answer needs no line feed."""
        self._disarm()
        if failure is None and self._streams and self._buffer and not self._skipping:
            with contextlib.suppress(NotHttp):
                self._take(bytes(self._buffer))
        for call, timeout_s, _ in self._open.values():
            self._answered.append((call, self._end_of(failure, timeout_s)))
        self._open.clear()
        self._tell()

    def abandon(self) -> None:
        """Nobody waits for any call any more."""
        self._disarm()
        self._open.clear()
        super().abandon()

    def _end_of(self, failure: Exception | None, timeout_s: float) -> CallError:
        if self.status in _UNKNOWN:
            return NO_BATCHES
        if isinstance(failure, EndedEarly) and self._streams:
            return CallError(DIED, "the sidecar went away before it answered", ambiguous=True)
        if failure is not None:
            return unanswered(failure, sent=self.sent, timeout_s=timeout_s)
        if not self._streams:
            answer = read_answer(self.status, self.content_type, bytes(self._buffer))
            if isinstance(answer, CallError):
                return answer
        return bad_answer("a batch was answered without this call", ambiguous=True)

    def _take(self, line: bytes) -> None:
        found = batch.read_answer(line)
        if found is None:
            raise NotHttp("a line of a batch is no answer", 0)
        identity, status, body = found
        held = self._open.pop(identity, None)
        if held is not None:  # else it was given up, or answered before
            self._answered.append((held[0], read_answer(status, _JSON, body)))

    def _too_long(self) -> None:
        """One line is larger than an answer may be: its call ends, the rest of it is passed over."""
        self._skipping = True
        found = batch.read_answer(bytes(self._buffer[:512]))
        if found is None:
            raise NotHttp("a line of a batch is no answer", 0)
        held = self._open.pop(found[0], None)
        if held is not None:
            self._answered.append((held[0], bad_answer(f"more than {ANSWER_BYTES} bytes", ambiguous=True)))

    def _tell(self) -> None:
        if self._answered:
            answered, self._answered = self._answered, []
            self._ended(answered)

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(min(until for _, _, until in self._open.values()), self._late)

    def _late(self) -> None:
        """End the calls whose time is up."""
        now = asyncio.get_running_loop().time()
        for identity, (call, timeout_s, until) in list(self._open.items()):
            if until <= now:
                del self._open[identity]
                error = unanswered(TimeoutError(), sent=self.sent, timeout_s=timeout_s)
                self._answered.append((call, error))
        if self._open:
            self._arm()
        else:
            self.abandon()
        self._tell()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def check_head(reply: Reply) -> None:
    """Refuse what no sidecar may answer.

    Raises:
        NotHttp: A redirect, or a compressed answer.
    """
    if 300 <= reply.status < 400:
        raise NotHttp(f"HTTP {reply.status} redirect, which is never followed", reply.status)
    if reply.encoding not in ("", "identity"):
        raise NotHttp("it is compressed, which nobody asked for", reply.status)
