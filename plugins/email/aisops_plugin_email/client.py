"""Speaks SMTP through aiosmtplib, one connection per mail, and always knows how far the delivery has come."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from aisops_plugin_email.config import EmailConfig, Protection
from aisops_plugin_email.message import Mail
from aisops_plugin_email.rules import Phase, Reply, all_refused, lost, refusal
from aisops_plugin_sdk import InvalidRequest, PluginError, ProviderError
from aisops_plugin_sdk.outbound import trusting

START_INPUT, COMPLETED = 354, 250
_BARE_LINE_END = re.compile(rb"\r\n|\r|\n")
_LEADING_DOT = re.compile(rb"(?m)^\.")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server took the mail.

    Attributes:
        reply: its final reply, which usually names its queue id.
        refused: the replies to recipients it did not take.
    """

    reply: Reply
    refused: dict[str, Reply] = field(default_factory=dict)


@dataclass(slots=True)
class _Progress:
    phase: Phase = Phase.CONNECT


class SmtpClient:
    """Delivers mails to one server.

    Raises:
        NotConfigured: the configured file of authorities cannot be read.
    """

    def __init__(self, config: EmailConfig) -> None:
        self._config = config
        self._context = trusting(config.ca_file) if config.ca_file else ssl.create_default_context()

    async def check(self, timeout_s: float) -> None:
        """Connect, secure the connection and log in.

        Raises:
            PluginError: what stands in the way.
        """
        async with self._connected(_Progress(), timeout_s):
            pass

    async def deliver(self, mail: Mail, timeout_s: float) -> Accepted:
        """Deliver one mail.

        Args:
            mail: envelope and bytes.
            timeout_s: seconds for everything, connecting included.

        Raises:
            PluginError: `rules.py` says which, by reply or by how far the delivery had come.
        """
        progress = _Progress()
        async with self._connected(progress, timeout_s) as smtp:
            _check_size(smtp, mail)
            progress.phase = Phase.MAIL
            await smtp.mail(mail.sender, options=_mail_options(smtp, mail))
            progress.phase = Phase.RCPT
            refused = await _recipients(smtp, mail)
            progress.phase = Phase.DATA
            reply = await smtp.execute_command(b"DATA")
            if reply.code == START_INPUT:
                reply = await _content(smtp, mail.data, progress)
            if reply.code != COMPLETED:
                raise refusal(Phase.DATA, Reply(reply.code, reply.message))
            # From here on the mail is the server's; nothing that follows may make it look otherwise.
            return Accepted(Reply(reply.code, reply.message), refused)

    @asynccontextmanager
    async def _connected(self, progress: _Progress, timeout_s: float) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection that is secured and logged in; failures inside come out as errors of the SDK."""
        config = self._config
        smtp = aiosmtplib.SMTP(
            hostname=config.host,
            port=config.port,
            local_hostname=config.helo_name or None,
            use_tls=config.protection is Protection.IMPLICIT,
            start_tls=False,
            tls_context=None if config.protection is Protection.NONE else self._context,
            timeout=max(0.1, timeout_s),
        )
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._open(smtp, progress)
                yield smtp
        except PluginError:
            raise
        except aiosmtplib.SMTPResponseException as error:
            raise refusal(progress.phase, Reply(error.code, error.message)) from None
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPConnectError, OSError) as error:
            raise _lost(progress.phase, error) from None
        except aiosmtplib.SMTPException as error:
            # The server lacks STARTTLS, AUTH or a method of it.
            raise ProviderError(f"the mail server lacks what is configured: {error}", code="unsupported") from None
        else:
            _say_goodbye(smtp)
        finally:
            smtp.close()

    async def _open(self, smtp: aiosmtplib.SMTP, progress: _Progress) -> None:
        config = self._config
        await smtp.connect()
        await smtp.ehlo()
        if config.protection is Protection.STARTTLS:
            await smtp.starttls()
            await smtp.ehlo()
        if config.user and config.password is not None:
            progress.phase = Phase.LOGIN
            await smtp.login(config.user, config.password.reveal())


def _lost(phase: Phase, error: Exception) -> PluginError:
    """Judge a broken connection; an untrusted certificate is told apart because repeating does not help."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"the mail server's certificate is not trusted: {cause.verify_message}"
            return ProviderError(text, code="certificate_untrusted")
        cause = cause.__cause__ or cause.__context__
    return lost(phase, type(error).__name__)


def _check_size(smtp: aiosmtplib.SMTP, mail: Mail) -> None:
    """Refuse before sending what the server says it will not take."""
    limit = smtp.esmtp_extensions.get("size", "")
    if limit.isdecimal() and 0 < int(limit) < len(mail.data):
        text = f"the mail has {len(mail.data)} bytes; the server takes {limit}"
        raise InvalidRequest(text, code="too_large")


def _mail_options(smtp: aiosmtplib.SMTP, mail: Mail) -> list[str]:
    return [f"SIZE={len(mail.data)}"] if smtp.supports_extension("size") else []


async def _recipients(smtp: aiosmtplib.SMTP, mail: Mail) -> dict[str, Reply]:
    """Name the recipients; return the replies of those refused.

    Raises:
        PluginError: all of them were refused.
    """
    refused: dict[str, Reply] = {}
    for address in mail.recipients:
        try:
            await smtp.rcpt(address)
        except aiosmtplib.SMTPRecipientRefused as error:
            refused[address] = Reply(error.code, error.message)
    if len(refused) == len(mail.recipients):
        raise all_refused(refused)
    return refused


async def _content(smtp: aiosmtplib.SMTP, data: bytes, progress: _Progress) -> aiosmtplib.SMTPResponse:
    """Send the mail's content and its final dot; `progress` tells that it left before the first byte does."""
    protocol = smtp.protocol
    if not isinstance(protocol, SMTPProtocol):
        raise aiosmtplib.SMTPServerDisconnected("Connection lost")
    framed = framed_content(data)
    progress.phase = Phase.SENT
    protocol.write(framed)
    return await protocol.read_response(timeout=smtp.timeout)


def framed_content(data: bytes) -> bytes:
    """Write content for the DATA phase: CRLF line ends, leading dots doubled, the final dot (RFC 5321, 4.5.2)."""
    lines = _BARE_LINE_END.sub(b"\r\n", data)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return _LEADING_DOT.sub(b"..", lines) + b".\r\n"


def _say_goodbye(smtp: aiosmtplib.SMTP) -> None:
    """Send QUIT without waiting for the reply: the outcome is settled, and a slow server must not delay it."""
    protocol = smtp.protocol
    if smtp.is_connected and isinstance(protocol, SMTPProtocol):
        with contextlib.suppress(aiosmtplib.SMTPException):
            protocol.write(b"QUIT\r\n")
