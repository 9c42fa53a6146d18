"""email.send against a real SMTP server, through the real sidecar server."""

import pytest

from aisops_plugin_email import plugin
from aisops_plugin_sdk.testing import PluginTest
from demo.providers.certificate import make_loopback_tls
from demo.providers.faults import Fault, FaultKind
from demo.providers.smtp import SmtpStandIn

pytestmark = pytest.mark.integration
TEXT = "디스크 부족 🚨\n.a line that starts with a dot\n..\nFrom here\n<no> writes & more"


@pytest.fixture
async def server():
    async with SmtpStandIn() as stand_in:
        yield stand_in


def served(server, **env):
    base = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_FROM": "Ops <ops@demo.example>"}
    return PluginTest(plugin, env=base | env)


def mail(**changes):
    return {"to": "a@demo.example", "subject": "알림 🚨", "text": TEXT} | changes


async def test_the_mail_arrives_to_the_letter_under_a_known_message_id(server):
    async with served(server) as t:
        first = await t.invoke("email.send", mail(html="<p>디스크 🚨</p>"), idempotency_key="k-1")
    async with served(server) as t:
        await t.invoke("email.send", mail(html="<p>디스크 🚨</p>"), idempotency_key="k-1")
    received, again = server.received
    assert (received.text, received.html) == (TEXT, "<p>디스크 🚨</p>")
    assert (received.subject, received.mail_from) == ("알림 🚨", "ops@demo.example")
    assert first.result["message_id"] == received.message_id == again.message_id
    assert first.result["refs"]["queue_id"]


async def test_lines_that_start_with_a_dot_survive_in_plain_text(server):
    text = ".first\n.\n..\nlast"
    async with served(server) as t:
        assert (await t.invoke("email.send", mail(text=text))).ok
    assert server.received[0].text == text


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_tls_and_login(tmp_path, mode):
    tls = make_loopback_tls(tmp_path)
    setting = {"starttls": "starttls", "implicit": "tls"}[mode]
    async with SmtpStandIn(tls=mode, context=tls.context, require_auth=True) as server:
        login = {"SMTP_USER": server.user, "SMTP_PASS": server.password, "SMTP_TLS": setting}
        async with served(server, **login, SMTP_CA_FILE=str(tls.ca_file)) as t:
            assert (await t.get("/v1/config/check")).ok
            assert (await t.invoke("email.send", mail())).ok
        async with served(server, **login) as t:
            untrusted = await t.invoke("email.send", mail())
        async with served(server, **login | {"SMTP_PASS": "demo-wrong"}, SMTP_CA_FILE=str(tls.ca_file)) as t:
            refused = await t.invoke("email.send", mail())
        assert len(server.received) == 1
    assert (untrusted.status, untrusted.code, untrusted.retryable) == (502, "certificate_untrusted", False)
    assert (refused.status, refused.code) == (401, "credentials_refused")


async def test_a_server_without_starttls_gets_nothing_when_it_is_required(server):
    async with served(server, SMTP_TLS="starttls") as t:
        answer = await t.invoke("email.send", mail())
    assert (answer.status, answer.code, answer.retryable) == (502, "unsupported", False)
    assert server.received == []


async def test_refused_recipients_are_named_and_the_others_get_the_mail(server):
    server.refused = {"gone@demo.example": "550 5.1.1 no such user", "slow@demo.example": "450 4.2.0 greylisted"}
    to = ["gone@demo.example", "a@demo.example", "slow@demo.example"]
    async with served(server) as t:
        answer = await t.invoke("email.send", mail(to=to, cc="b@demo.example"))
    assert server.received[0].recipients == ("a@demo.example", "b@demo.example")
    assert [(item["to"], item["status"], item["code"]) for item in answer.result["per_recipient"]] == [
        ("gone@demo.example", "failed", "550 5.1.1"),
        ("a@demo.example", "accepted", ""),
        ("slow@demo.example", "failed", "450 4.2.0"),
        ("b@demo.example", "accepted", ""),
    ]


@pytest.mark.parametrize(
    ("reply", "status", "code", "retryable"),
    [
        ("550 5.1.1 no such user", 422, "recipient_refused", False),
        ("450 4.2.0 greylisted", 503, "temporary_failure", True),
        ("450 4.7.1 slow down", 429, "rate_limited", True),
    ],
)
async def test_a_mail_that_nobody_may_get_fails_by_the_servers_reply(server, reply, status, code, retryable):
    server.refused = {"a@demo.example": reply}
    async with served(server) as t:
        answer = await t.invoke("email.send", mail())
    assert (answer.status, answer.code, answer.retryable, answer.ambiguous) == (status, code, retryable, False)
    assert answer.details[0]["message"] == f"a@demo.example: {reply}"
    assert (server.calls, server.received) == (0, [])


@pytest.mark.parametrize("phase", ["mail", "rcpt"])
async def test_a_connection_lost_before_the_content_is_a_safe_retry(server, phase):
    server.faults.add(Fault(FaultKind.DROP_BEFORE_ACCEPT, phase=phase))
    async with served(server) as t:
        first = await t.invoke("email.send", mail(), idempotency_key="k-1")
        second = await t.invoke("email.send", mail(), idempotency_key="k-1")
    assert (first.status, first.retryable, first.ambiguous) == (503, True, False)
    assert second.ok
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault(FaultKind.REFUSE, code="451 4.3.0 try again"), 503, "temporary_failure"),
        (Fault(FaultKind.REFUSE, code="554 5.7.1 spam"), 422, "policy"),
        (Fault(FaultKind.REFUSE, code="552 5.3.4 too big"), 400, "too_large"),
        (Fault(FaultKind.REFUSE, code="550 5.7.30 basic auth is off", phase="mail"), 401, "credentials_refused"),
        (Fault(FaultKind.RATE_LIMIT, phase="mail"), 429, "rate_limited"),
    ],
)
async def test_each_refusal_comes_out_as_its_class(server, fault, status, code):
    server.faults.add(fault)
    async with served(server) as t:
        answer = await t.invoke("email.send", mail())
    assert (answer.status, answer.code, answer.ambiguous) == (status, code, False)
    assert server.received == []


async def test_a_mail_over_the_servers_size_is_refused_before_it_is_sent():
    async with SmtpStandIn(size_limit_bytes=2000) as small:
        async with served(small) as t:
            answer = await t.invoke("email.send", mail(text="x" * 3000))
        assert (answer.status, answer.code, small.calls) == (400, "too_large", 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"to": []},
        {"to": "nonsense"},
        {"to": ["a@demo.example"] * 51},
        {"to": "a@demo.example\r\nBcc: b@demo.example"},
        {"subject": "x\r\nBcc: b@demo.example"},
        {"subject": "x" * 201},
        {"text": ""},
        {"text": "x" * 100_001},
        {"html": ""},
        {"bcc": "b@demo.example"},
    ],
)
async def test_input_outside_the_limits_is_refused_before_anything_is_sent(server, changes):
    async with served(server) as t:
        answer = await t.invoke("email.send", mail(**changes))
    assert answer.status == 400, answer.document
    assert server.calls == 0
