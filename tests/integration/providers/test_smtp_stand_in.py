"""The mail server stand-in speaks real SMTP, seen through aiosmtplib."""

import ssl
from email.message import EmailMessage

import aiosmtplib
import pytest

from demo.providers.certificate import make_loopback_tls
from demo.providers.faults import Fault, FaultKind
from demo.providers.smtp import SmtpStandIn

pytestmark = pytest.mark.integration


def mail(text="디스크 부족 🚨"):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@demo.example", "b@demo.example", "알림"
    message["Message-ID"] = "<1@demo.example>"
    message.set_content(text)
    return message


@pytest.fixture
def tls(tmp_path):
    return make_loopback_tls(tmp_path)


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_a_mail_arrives_over_tls_with_credentials(tls, mode):
    async with SmtpStandIn(tls=mode, context=tls.context, require_auth=True) as server:
        await aiosmtplib.send(
            mail(), hostname="127.0.0.1", port=server.port, username=server.user, password=server.password,
            start_tls=mode == "starttls", use_tls=mode == "implicit",
            tls_context=ssl.create_default_context(cafile=tls.ca_file),
        )  # fmt: skip
        received = server.received[0]
        assert (received.subject, received.text.strip()) == ("알림", "디스크 부족 🚨")
        assert (received.to, received.message_id) == ("b@demo.example", "<1@demo.example>")


async def test_credentials_and_tls_are_insisted_on(tls):
    async with SmtpStandIn(tls="starttls", context=tls.context, require_auth=True) as server:
        with pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
            await aiosmtplib.send(mail(), hostname="127.0.0.1", port=server.port, start_tls=False)
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await aiosmtplib.send(
                mail(), hostname="127.0.0.1", port=server.port, username=server.user, password="wrong",
                start_tls=True, tls_context=ssl.create_default_context(cafile=tls.ca_file),
            )  # fmt: skip
        assert server.received == []


async def test_single_recipients_are_refused_by_configuration():
    async with SmtpStandIn() as server:
        server.refused["gone@demo.example"] = "550 5.1.1 no such user"
        refused, _ = await aiosmtplib.send(
            mail(), recipients=["gone@demo.example", "b@demo.example"], hostname="127.0.0.1", port=server.port
        )
        assert refused["gone@demo.example"].code == 550
        assert server.received[0].recipients == ("b@demo.example",)


async def test_a_mail_above_the_size_limit_is_refused():
    async with SmtpStandIn(size_limit_bytes=1000) as server:
        with pytest.raises(aiosmtplib.SMTPException, match="552"):
            await aiosmtplib.send(mail("x" * 2000), hostname="127.0.0.1", port=server.port)
        assert server.received == []


@pytest.mark.parametrize(
    ("fault", "accepted"),
    [
        (Fault(FaultKind.DROP_BEFORE_ACCEPT, phase="mail"), 0),
        (Fault(FaultKind.DROP_BEFORE_ACCEPT, phase="rcpt"), 0),
        (Fault(FaultKind.DROP_BEFORE_ACCEPT), 0),
        (Fault(FaultKind.DROP_AFTER_ACCEPT), 1),
        (Fault(FaultKind.HANG_AFTER_ACCEPT), 1),
    ],
)
async def test_a_scripted_fault_happens_in_its_phase(fault, accepted):
    async with SmtpStandIn() as server:
        server.faults.add(fault)
        with pytest.raises((aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError)):
            await aiosmtplib.send(mail(), hostname="127.0.0.1", port=server.port, timeout=0.3)
        assert len(server.received) == accepted


async def test_a_scripted_refusal_is_given_as_it_stands():
    async with SmtpStandIn() as server:
        server.faults.add(Fault(FaultKind.REFUSE, code="451 4.3.0 try again"))
        with pytest.raises(aiosmtplib.SMTPDataError, match="try again"):
            await aiosmtplib.send(mail(), hostname="127.0.0.1", port=server.port)
