"""What the replies of a mail server mean. Pure.

The line is the final dot: what fails before it was not accepted and may be sent again, and what gets no reply after it
may have been accepted and is not sent again.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from aisops_plugin_sdk import (
    Ambiguous,
    Detail,
    InvalidRequest,
    Permanent,
    PluginError,
    RateLimited,
    RecipientResult,
    Transient,
    Unauthorized,
)

SLOW_DOWN_S = 60.0
"""Mail servers name no time to wait; greylisting and rate limits usually pass within minutes."""

MAILBOX_FULL = "5.2.2"

_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_TEXT_MAX = 300


class Phase(StrEnum):
    """How far a delivery has come."""

    CONNECT = "connect"
    LOGIN = "login"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of the server: 3-digit code and text."""

    code: int
    text: str

    @property
    def enhanced(self) -> str:
        """The enhanced status code, such as `5.1.1`, or empty."""
        found = _ENHANCED.search(self.text)
        return found.group(0) if found else ""

    @property
    def temporary(self) -> bool:
        """True for 4xx."""
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return f"{self.code} {' '.join(self.text.split())}"[:_TEXT_MAX]


def lost(phase: Phase, kind: str) -> PluginError:
    """Judge a connection that broke or fell silent.

    Args:
        phase: how far the delivery had come.
        kind: what happened, for the text.
    """
    if phase is Phase.SENT:
        return Ambiguous(f"the mail was sent in full and the server did not confirm it ({kind})")
    return Transient(f"the mail server was lost at {phase} ({kind}); nothing was sent", code="unreachable")


def refusal(phase: Phase, reply: Reply) -> PluginError:
    """Judge a refusing reply."""
    enhanced = reply.enhanced
    if reply.temporary:
        if enhanced.startswith("4.7.") and phase is not Phase.LOGIN:
            return RateLimited(f"the mail server asks to come back later ({reply})", retry_after_s=SLOW_DOWN_S)
        return Transient(f"the mail server cannot take the mail now ({reply})", code="temporary_failure")
    if phase is Phase.LOGIN or reply.code in {530, 534, 535, 538} or enhanced == "5.7.30":
        return Unauthorized(f"the mail server refuses the login ({reply})")
    if enhanced in {"5.3.4", "5.2.3"} or (reply.code == 552 and enhanced != MAILBOX_FULL):
        return InvalidRequest(f"the mail is too large for the server ({reply})", code="too_large")
    return Permanent(f"the mail server refuses the mail ({reply})", code=_permanent_code(phase, enhanced))


def _permanent_code(phase: Phase, enhanced: str) -> str:
    if enhanced == MAILBOX_FULL:
        return "mailbox_full"
    if enhanced.startswith("5.7."):
        return "policy"
    return "recipient_refused" if phase is Phase.RCPT or enhanced.startswith("5.1.") else "refused"


def all_refused(refused: dict[str, Reply]) -> PluginError:
    """Judge a mail whose every recipient was refused: worth a repetition if one refusal was temporary."""
    replies = list(refused.values())
    first = next((reply for reply in replies if reply.temporary), replies[0])
    error = refusal(Phase.RCPT, first)
    error.details = tuple(Detail("/to", f"{address}: {reply}") for address, reply in refused.items())
    return error


def per_recipient(recipients: tuple[str, ...], refused: dict[str, Reply]) -> list[RecipientResult]:
    """What became of the mail for each recipient, in their order."""
    results = []
    for address in recipients:
        reply = refused.get(address)
        if reply is None:
            results.append(RecipientResult(to=address, status="accepted"))
        else:
            code = f"{reply.code} {reply.enhanced}".strip()
            results.append(RecipientResult(to=address, status="failed", code=code, message=str(reply)))
    return results
