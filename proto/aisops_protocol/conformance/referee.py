"""Judges what a runner sends, frame by frame, by the session machine that Core itself uses. Pure.

`CoreSession` knows every rule of order, lane, identity and window; here it never speaks, so that a check may say things
no Core would. What it objects to is a `Breach`.
"""

from __future__ import annotations

from dataclasses import dataclass

from aisops_protocol.errors import Code, RemoteProtocolError
from aisops_protocol.messages import Rewind, RunnerEnvelope, RunnerFrame, Welcome
from aisops_protocol.session import CoreSession, Delivered, HelloReceived, Identity

__all__ = ["TWO_SESSIONS", "Breach", "Judged", "Referee"]

TWO_SESSIONS = "TWO_SESSIONS"
"""Our own word beside the contract's codes: a runner opened a second stream while its first was open."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a runner broke: the code Core would close with, and what happened."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


@dataclass(frozen=True, slots=True)
class Judged:
    """What a frame brought: new durable messages in order (and up to which number), or a breach."""

    envelopes: tuple[RunnerEnvelope, ...] = ()
    upto_seq: int = 0
    breach: Breach | None = None


class Referee:
    """The judge of one stream.

    Args:
        identity: Whose frames these must be.
        now: Monotonic seconds.
    """

    def __init__(self, identity: Identity, now: float) -> None:
        self._session = CoreSession(identity, now)

    def welcomed(self, welcome: Welcome, now: float) -> None:
        """The runner is being told this Welcome."""
        self._session.welcome(welcome, now)

    def committed(self, seq: int) -> None:
        """The runner is being told that everything up to `seq` is committed."""
        self._session.committed(min(seq, self._session.received))

    def widened(self, messages: int, octets: int) -> None:
        """The runner is being told another window."""
        self._session.credit(messages, octets)

    def heard(self, frame: RunnerFrame, now: float) -> Judged:
        """Judge one frame."""
        try:
            events = self._session.receive(frame, now)
        except RemoteProtocolError as error:
            return Judged(breach=Breach(error.code, error.message))
        for said in self._session.frames():
            for envelope in said.envelopes:
                if isinstance(envelope.body, Rewind):
                    return Judged(breach=Breach(Code.SEQ_GAP, f"message {envelope.body.from_seq} is missing"))
        found = [event for event in events if isinstance(event, Delivered)]
        if found:
            return Judged(found[0].envelopes, found[0].upto_seq)
        if any(isinstance(event, HelloReceived) for event in events) and len(frame.envelopes) > 1:
            return Judged(breach=Breach(Code.UNEXPECTED_MESSAGE, "something beside the Hello in its frame"))
        return Judged()
