"""What both ends of a session have in common: the state, the identity check of every frame, and the silence clock."""

from __future__ import annotations

from aisops_protocol import limits
from aisops_protocol.errors import Code, LocalProtocolError, RemoteProtocolError
from aisops_protocol.messages import CoreFrame, RunnerFrame
from aisops_protocol.session.events import Identity
from aisops_protocol.session.states import State, Step, following

__all__ = ["Party"]


class Party:
    """One end of a session. Times are monotonic seconds of the caller's clock.

    Attributes:
        identity: Whom the session is with; every frame must agree.
        state: Where the session stands.
        session_id: Token from Welcome; empty before it.
        ignored: Messages of a newer version that were counted and left alone.
    """

    def __init__(self, identity: Identity, now: float) -> None:
        self.identity = identity
        self.state = State.IDLE
        self.session_id = b""
        self.ignored = 0
        self._heard_at = now

    def _send_step(self, step: Step) -> None:
        """Move by a step of our own, or raise LocalProtocolError UNEXPECTED_MESSAGE."""
        target = following(self.state, step)
        if target is None:
            raise LocalProtocolError(Code.UNEXPECTED_MESSAGE, f"cannot send a {step.value} while {self.state.value}")
        self.state = target

    def _receive_step(self, step: Step, allowed: frozenset[Step]) -> None:
        """Move by the peer's step, or raise RemoteProtocolError UNEXPECTED_MESSAGE."""
        target = following(self.state, step) if step in allowed else None
        if target is None:
            raise RemoteProtocolError(Code.UNEXPECTED_MESSAGE, f"got a {step.value} while {self.state.value}")
        self.state = target

    def _fail(self) -> None:
        """Move by a failure, whoever's it is."""
        self.state = following(self.state, Step.FAILURE) or self.state

    def _check_identity(self, frame: RunnerFrame | CoreFrame) -> None:
        """Every frame must be from the tenant and Runner of this session, and of this very session once it has an id.

        Raises:
            RemoteProtocolError: IDENTITY_MISMATCH. Which ids were claimed is not repeated in the text.
        """
        mine = self.identity
        if frame.tenant_id != mine.tenant_id or frame.runner_id != mine.runner_id:
            raise RemoteProtocolError(Code.IDENTITY_MISMATCH, "a frame names another tenant or runner")
        if self.session_id and frame.session_id != self.session_id:
            raise RemoteProtocolError(Code.IDENTITY_MISMATCH, "a frame names another session")

    def _ignore(self, *, critical: bool) -> None:
        """Count a message this version does not know.

        Raises:
            RemoteProtocolError: UNSUPPORTED when its sender marked it critical.
        """
        if critical:
            raise RemoteProtocolError(Code.UNSUPPORTED, "a critical message of a newer version")
        self.ignored += 1

    @property
    def _silence_deadline(self) -> float:
        greeting = self.state in {State.IDLE, State.GREETING}
        return self._heard_at + (limits.HELLO_TIMEOUT_S if greeting else limits.SILENCE_S)

    def _check_silence(self, now: float) -> None:
        """Raise RemoteProtocolError when the peer has been silent for too long: HELLO_TIMEOUT or PEER_SILENT."""
        if now < self._silence_deadline:
            return
        if self.state in {State.IDLE, State.GREETING}:
            raise RemoteProtocolError(Code.HELLO_TIMEOUT, f"no answer within {limits.HELLO_TIMEOUT_S:.0f} s")
        raise RemoteProtocolError(Code.PEER_SILENT, f"no message for {limits.SILENCE_S:.0f} s")
