"""A stand-in of a customer's mail server: real SMTP by aiosmtpd, with STARTTLS or TLS, AUTH and refusals on request."""

from __future__ import annotations

import asyncio
import email
import email.policy
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from demo.providers.faults import Fault, FaultKind, FaultScript

SIZE_LIMIT_BYTES = 1024 * 1024
IDLE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class MailMessage:
    """One accepted mail.

    Attributes:
        message_id: the Message-ID header.
        to: the accepted envelope recipients, separated by commas.
        text: the text part as a person reads it.
        subject: the decoded subject.
        mail_from: the envelope sender.
        recipients: the accepted envelope recipients.
        html: the HTML part, empty without one.
        raw: the whole mail as it came.
    """

    message_id: str
    to: str
    text: str
    subject: str
    mail_from: str
    recipients: tuple[str, ...]
    html: str
    raw: bytes
    received_unix_s: float

    def parsed(self) -> EmailMessage:
        """The mail with its headers and parts decoded."""
        return _parse(self.raw)


def _parse(raw: bytes) -> EmailMessage:
    # aiosmtpd hands over CRLF lines; the parser of the default policy reads them as they are.
    return email.message_from_bytes(raw, policy=email.policy.default)


def _readable(part: object) -> str:
    """The text of a part as it was written: own line ends, without the newline that every mail text ends with."""
    if not isinstance(part, EmailMessage):
        return ""
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n")


class SmtpStandIn:
    """An SMTP server on 127.0.0.1 in this event loop.

    Attributes:
        received: the mails accepted so far, oldest first.
        calls: how many times a mail's data arrived in full, accepted or not.
        refused: SMTP replies for single recipients, by address, such as `550 5.1.1 no such user`.
        user, password: the credentials that AUTH takes; AUTH is required if `require_auth`.
    """

    def __init__(
        self,
        *,
        tls: Literal["none", "starttls", "implicit"] = "none",
        context: ssl.SSLContext | None = None,
        require_auth: bool = False,
        size_limit_bytes: int = SIZE_LIMIT_BYTES,
    ) -> None:
        self.received: list[MailMessage] = []
        self.calls = 0
        self.refused: dict[str, str] = {}
        self.faults = FaultScript()
        self.on_received: Callable[[MailMessage], None] | None = None
        self.user, self.password = "demo-mailer", f"demo-smtp-{secrets.token_hex(12)}"
        self.port = 0
        self._tls, self._context = tls, context
        self._require_auth = require_auth
        self._size_limit_bytes = size_limit_bytes
        self._server: asyncio.Server | None = None
        self._open: set[SMTP] = set()
        self._released = asyncio.Event()

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 lets the system choose."""
        implicit = self._context if self._tls == "implicit" else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, "127.0.0.1", port, ssl=implicit)
        self.port = self._server.sockets[0].getsockname()[1]

    def _connection(self) -> SMTP:
        starttls = self._tls == "starttls"
        protocol = SMTP(
            self,
            hostname="mail.demo.invalid",
            data_size_limit=self._size_limit_bytes,
            enable_SMTPUTF8=True,
            tls_context=self._context if starttls else None,
            require_starttls=starttls,
            # Behind implicit TLS the connection is safe already, which aiosmtpd cannot see; handle_MAIL asks for AUTH.
            auth_require_tls=starttls,
            authenticator=self._authenticate,
            timeout=IDLE_TIMEOUT_S,
            loop=asyncio.get_running_loop(),
        )
        self._open.add(protocol)
        return protocol

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        self._released.set()
        if self._server is None:
            return
        self._server.close()
        for protocol in self._open:
            if protocol.transport is not None:
                protocol.transport.close()
        self._open.clear()
        await self._server.wait_closed()
        # One turn of the loop lets aborted transports report their end to their protocols.
        await asyncio.sleep(0)
        self._server = None

    async def __aenter__(self) -> Self:
        """Start on a port that the system chooses."""
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop."""
        await self.stop()

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        if mechanism not in {"PLAIN", "LOGIN"} or not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        same_user = secrets.compare_digest(bytes(data.login), self.user.encode())
        same_password = secrets.compare_digest(bytes(data.password), self.password.encode())
        # `handled` False leaves the 535 reply of a failure to aiosmtpd.
        return AuthResult(success=same_user and same_password, handled=False)

    # --- the hooks that aiosmtpd calls; their names are its interface -----------------------------------------------

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take the envelope sender unless AUTH is due or a fault is scripted for `mail`."""
        if self._require_auth and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if (reply := await self._interrupted(server, "mail")) is not None:
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient unless it is refused or a fault is scripted for `rcpt`."""
        if (reply := await self._interrupted(server, "rcpt")) is not None:
            return reply
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take the mail unless a fault is scripted for `dot`, the end of the data."""
        self.calls += 1
        fault = self._fault("dot")
        if fault is not None and not fault.after_accept:
            return await self._misbehave(server, fault)
        queue_id = secrets.token_hex(5).upper()
        self._accept(envelope)
        if fault is not None:
            return await self._misbehave(server, fault)
        return f"250 2.0.0 Ok: queued as {queue_id}"

    def _fault(self, phase: str) -> Fault | None:
        fault = self.faults.peek()
        return self.faults.take() if fault is not None and fault.phase == phase else None

    async def _interrupted(self, server: SMTP, phase: str) -> str | None:
        fault = self._fault(phase)
        return None if fault is None else await self._misbehave(server, fault)

    async def _misbehave(self, server: SMTP, fault: Fault) -> str:
        """Give the scripted reply; the reply after a drop or a hang reaches nobody."""
        if fault.hangs:
            await self._released.wait()
        if (fault.drops or fault.hangs) and server.transport is not None:
            server.transport.close()
        match fault.kind:
            case FaultKind.REFUSE:
                return fault.code
            case FaultKind.RATE_LIMIT:
                return "450 4.7.1 Too many messages, slow down"
            case _:
                return "451 4.3.0 Temporary failure"

    def _accept(self, envelope: Envelope) -> None:
        raw = bytes(envelope.original_content or b"")
        mail = _parse(raw)
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        record = MailMessage(
            message_id=str(mail["Message-ID"] or ""),
            to=", ".join(envelope.rcpt_tos),
            text=_readable(text),
            subject=str(mail["Subject"] or ""),
            mail_from=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            html=_readable(html),
            raw=raw,
            received_unix_s=time.time(),
        )
        self.received.append(record)
        if self.on_received is not None:
            self.on_received(record)
