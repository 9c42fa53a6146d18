"""The input of email.send and the mail that is built from it: headers, parts, Message-ID. Pure; time is passed in."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage as Mime
from email.policy import SMTP
from typing import Annotated

from pydantic import BaseModel, Field

from aisops_plugin_email.addresses import Mailbox, mailbox, mailboxes
from aisops_plugin_sdk import Detail, InvalidRequest

RECIPIENTS_MAX = 50
SUBJECT_MAX = 200
TEXT_MAX = 100_000
HTML_MAX = 400_000

# 7bit: such a mail passes every server, whatever it offers.
_POLICY = SMTP.clone(cte_type="7bit")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ID_DIGITS = 32

OneAddress = Annotated[str, Field(min_length=1, max_length=512)]
Addresses = (
    Annotated[str, Field(min_length=1, max_length=8192)]
    | Annotated[list[OneAddress], Field(min_length=1, max_length=RECIPIENTS_MAX)]
)


class EmailMessage(BaseModel):
    """A mail to one or more people."""

    to: Addresses = Field(
        description=f"One address, several separated by commas, or a list; with `cc` at most {RECIPIENTS_MAX}",
        examples=[["ops@example.com", "Night shift <night@example.com>"]],
    )
    subject: str | None = Field(
        None,
        min_length=1,
        max_length=SUBJECT_MAX,
        description="No line breaks; default: SMTP_DEFAULT_SUBJECT",
        examples=["Disk full"],
    )
    text: str = Field(
        min_length=1, max_length=TEXT_MAX, description="The plain text part", examples=["Disk full on db-01"]
    )
    html: str | None = Field(None, min_length=1, max_length=HTML_MAX, description="The same as HTML")
    cc: Addresses | None = Field(None, description="As `to`")
    reply_to: OneAddress | None = Field(None, description="Where answers go, one address")


@dataclass(frozen=True, slots=True)
class Mail:
    """What goes to the server: envelope and bytes."""

    sender: str
    recipients: tuple[str, ...]
    message_id: str
    data: bytes


def message_id(idempotency_key: str, domain: str) -> str:
    """The Message-ID of one effect: equal for every repetition of it, so that archives can recognise a second copy."""
    digest = base64.b32encode(hashlib.sha256(idempotency_key.encode()).digest()).decode().lower()
    return f"<aof-{digest[:_ID_DIGITS]}@{domain}>"


def build(message: EmailMessage, sender: Mailbox, *, default_subject: str, idempotency_key: str, now: datetime) -> Mail:
    """Build the mail.

    Args:
        message: the input.
        sender: for the From header and the envelope.
        default_subject: where the input has none.
        idempotency_key: what the Message-ID is made from.
        now: for the Date header, with its time zone.

    Raises:
        InvalidRequest: an address or the subject is not acceptable, or there are too many recipients.
    """
    to = _read("/to", message.to)
    cc = [] if message.cc is None else _read("/cc", message.cc)
    recipients = tuple(dict.fromkeys(box.address for box in (*to, *cc)))
    if len(recipients) > RECIPIENTS_MAX:
        raise InvalidRequest(
            f"{len(recipients)} recipients; at most {RECIPIENTS_MAX} are taken", code="too_many_recipients"
        )
    mime = Mime(policy=_POLICY)
    mime["From"] = _address(sender)
    mime["To"] = [_address(box) for box in to]
    if cc:
        mime["Cc"] = [_address(box) for box in cc]
    if message.reply_to is not None:
        mime["Reply-To"] = _address(_reply_to(message.reply_to))
    mime["Subject"] = _subject(message.subject or default_subject)
    mime["Date"] = now
    mime["Message-ID"] = message_id(idempotency_key, sender.domain)
    # Asks vacation responders to stay silent (RFC 3834).
    mime["Auto-Submitted"] = "auto-generated"
    _set_parts(mime, message)
    return Mail(sender.address, recipients, str(mime["Message-ID"]), mime.as_bytes())


def _set_parts(mime: Mime, message: EmailMessage) -> None:
    for path, part in (("/text", message.text), ("/html", message.html or "")):
        if "\0" in part:
            raise _refused(path, "must not hold NUL characters, which mail cannot carry")
    mime.set_content(message.text)
    if message.html is not None:
        mime.add_alternative(message.html, subtype="html")


def _subject(text: str) -> str:
    if _CONTROL.search(text):
        raise _refused("/subject", "must not hold line breaks or control characters")
    return text


def _read(path: str, given: str | Sequence[str]) -> list[Mailbox]:
    try:
        return mailboxes(given)
    except ValueError as error:
        raise _refused(path, str(error)) from None


def _reply_to(text: str) -> Mailbox:
    try:
        return mailbox(text)
    except ValueError as error:
        raise _refused("/reply_to", str(error)) from None


def _refused(path: str, text: str) -> InvalidRequest:
    return InvalidRequest(f"input breaks the schema: {path}: {text}", details=[Detail(path, text)])


def _address(box: Mailbox) -> Address:
    return Address(display_name=box.name, addr_spec=box.address)
