"""The rules of e-mail: addresses, headers, Message-ID, framing, and what each reply of a server means."""

import email.policy
import re
from datetime import UTC, datetime
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_email.addresses import Mailbox, mailbox, mailboxes
from aisops_plugin_email.client import framed_content
from aisops_plugin_email.config import EmailConfig, Protection
from aisops_plugin_email.message import EmailMessage, build, message_id
from aisops_plugin_email.rules import Phase, Reply, all_refused, lost, per_recipient, refusal
from aisops_plugin_sdk import Ambiguous, InvalidRequest, Permanent, RateLimited, Transient, Unauthorized
from aisops_plugin_sdk.config import load
from aisops_plugin_sdk.errors import ConfigInvalid

NOW = datetime(2026, 11, 23, 4, 12, 37, tzinfo=UTC)
SENDER = Mailbox("aisops@demo.example", "AIsOpsFlow 알림")


def built(**fields):
    message = EmailMessage.model_validate({"to": "ops@demo.example", "text": "t"} | fields)
    return build(message, SENDER, default_subject="Default", idempotency_key="k-1", now=NOW)


def parsed(mail):
    return message_from_bytes(mail.data, policy=email.policy.default)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ops@example.com", Mailbox("ops@example.com")),
        ("Ops Team <ops@example.com>", Mailbox("ops@example.com", "Ops Team")),
        ("운영팀 <ops+alerts@example.com>", Mailbox("ops+alerts@example.com", "운영팀")),
        ("ops@한국.example", Mailbox("ops@xn--3e0b707e.example")),
        ("<ops@example.com>", Mailbox("ops@example.com")),
    ],
)
def test_addresses_are_read(text, expected):
    assert mailbox(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "ops", "@example.com", "ops@", "a b@example.com", "ops@exa mple.com", "ops@example.com\r\nBcc: x@y.example",
        "x\r\n <ops@example.com>", "ops@example.com>", "a@b@c.example", "ops@-x.example",
        "ops@" + "x" * 64 + ".example", "운영@example.com", "ops@example..com",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match=r"address|domain"):
        mailbox(text)


@given(st.text())
def test_an_accepted_address_never_holds_what_could_break_a_header_or_command(text):
    try:
        box = mailbox(text)
    except ValueError:
        return
    assert not re.search(r"[\x00-\x20\x7f<>]", box.address)
    assert box.address.isascii()
    assert not re.search(r"[\x00-\x1f\x7f]", box.name)


def test_several_addresses_in_one_text_or_a_list_lose_repetitions():
    assert [box.address for box in mailboxes("a@x.example, B <b@x.example>,A@x.example")] == [
        "a@x.example",
        "b@x.example",
    ]
    assert [box.address for box in mailboxes(["a@x.example", "a@x.example"])] == ["a@x.example"]


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_message_id_is_plain_and_belongs_to_one_key(first, second):
    made = message_id(first, "demo.example")
    assert re.fullmatch(r"<aof-[a-z2-7]{32}@demo\.example>", made)
    assert (made == message_id(second, "demo.example")) is (first == second)


WRITTEN = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1)


@given(WRITTEN)
def test_the_text_comes_back_to_the_letter_from_plain_ascii_lines(text):
    mail = built(text=text)
    assert mail.data.isascii()
    assert max(len(line) for line in mail.data.split(b"\r\n")) <= 998
    assert parsed(mail).get_content().replace("\r\n", "\n").removesuffix("\n") == text.removesuffix("\n")


def test_text_and_html_are_alternatives_with_all_headers():
    mail = built(html="<p>디스크 🚨</p>", cc="b@demo.example", reply_to="Boss <c@demo.example>", subject="알림 🚨")
    read = parsed(mail)
    assert read.get_content_type() == "multipart/alternative"
    assert read.get_body(("html",)).get_content().strip() == "<p>디스크 🚨</p>"
    assert (read["From"], read["Cc"]) == ("AIsOpsFlow 알림 <aisops@demo.example>", "b@demo.example")
    assert (read["Subject"], read["Reply-To"]) == ("알림 🚨", "Boss <c@demo.example>")
    assert (read["Auto-Submitted"], read["Message-ID"]) == ("auto-generated", mail.message_id)
    assert read["Date"] == "Mon, 23 Nov 2026 04:12:37 +0000"
    assert mail.recipients == ("ops@demo.example", "b@demo.example")


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "a\r\nBcc: x@y.example"},
        {"subject": "a\nb"},
        {"to": "ops@demo.example\r\nBcc: x@y.example"},
        {"to": ["ops@demo.example", "nonsense"]},
        {"cc": "x\n@y.example"},
        {"reply_to": "x@y.example\r\nX: y"},
        {"text": "a\0b"},
        {"html": "a\0b"},
    ],
)
def test_header_injection_and_what_mail_cannot_carry_are_refused(fields):
    with pytest.raises(InvalidRequest):
        built(**fields)


def test_more_than_fifty_recipients_are_refused():
    many = ", ".join(f"u{number}@demo.example" for number in range(51))
    with pytest.raises(InvalidRequest, match="51 recipients"):
        built(to=many)
    assert len(built(to=many.rpartition(",")[0]).recipients) == 50


@given(st.binary() | st.text(alphabet=".\r\na").map(str.encode))
def test_framed_content_ends_with_the_only_lone_dot(data):
    framed = framed_content(data)
    assert framed.endswith(b"\r\n.\r\n")
    lines = framed.removesuffix(b"\r\n").split(b"\r\n")
    assert lines.count(b".") == 1
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    undone = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-1])
    normal = re.sub(rb"\r\n|\r|\n", b"\r\n", data)
    assert undone == (normal if normal.endswith(b"\r\n") else normal + b"\r\n")


@pytest.mark.parametrize(
    ("phase", "code", "text", "expected"),
    [
        (Phase.CONNECT, 421, "4.3.2 shutting down", Transient),
        (Phase.CONNECT, 554, "no service", Permanent),
        (Phase.LOGIN, 535, "5.7.8 bad credentials", Unauthorized),
        (Phase.LOGIN, 454, "4.7.0 temporary failure", Transient),
        (Phase.MAIL, 530, "5.7.0 must issue STARTTLS", Unauthorized),
        (Phase.MAIL, 550, "5.7.30 basic authentication is off", Unauthorized),
        (Phase.MAIL, 552, "5.3.4 too big", InvalidRequest),
        (Phase.MAIL, 450, "4.7.1 rate limit", RateLimited),
        (Phase.RCPT, 450, "4.2.0 greylisted", Transient),
        (Phase.RCPT, 550, "5.1.1 no such user", Permanent),
        (Phase.RCPT, 552, "5.2.2 mailbox full", Permanent),
        (Phase.DATA, 451, "4.3.0 try again", Transient),
        (Phase.DATA, 554, "5.7.1 spam", Permanent),
    ],
)
def test_every_reply_has_its_meaning(phase, code, text, expected):
    assert type(refusal(phase, Reply(code, text))) is expected


@pytest.mark.parametrize("phase", [*Phase])
def test_only_what_was_sent_in_full_is_ambiguous_when_the_connection_is_lost(phase):
    judged = lost(phase, "x")
    assert type(judged) is (Ambiguous if phase is Phase.SENT else Transient)


def test_all_recipients_refused_is_worth_a_repetition_if_one_refusal_was_temporary():
    gone, busy = Reply(550, "5.1.1 no such user"), Reply(450, "4.2.0 greylisted")
    assert isinstance(all_refused({"a": gone}), Permanent)
    error = all_refused({"a": gone, "b": busy})
    assert isinstance(error, Transient)
    assert [detail.message for detail in error.details] == ["a: 550 5.1.1 no such user", "b: 450 4.2.0 greylisted"]
    statuses = [(item.to, item.status, item.code) for item in per_recipient(("a", "b"), {"a": gone})]
    assert statuses == [("a", "failed", "550 5.1.1"), ("b", "accepted", "")]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"SMTP_HOST": "mail.example.com"}, Protection.STARTTLS),
        ({"SMTP_HOST": "mail.example.com", "SMTP_PORT": "465"}, Protection.IMPLICIT),
        ({"SMTP_HOST": "127.0.0.1", "SMTP_PORT": "25"}, Protection.NONE),
        ({"SMTP_HOST": "localhost", "SMTP_TLS": "starttls"}, Protection.STARTTLS),
        ({"SMTP_HOST": "mail.example.com", "SMTP_TLS": "none"}, Protection.NONE),
        ({"SMTP_HOST": "mail.example.com", "SMTP_TLS": "tls"}, Protection.IMPLICIT),
    ],
)
def test_only_loopback_and_an_explicit_wish_go_without_tls(env, expected):
    assert load(EmailConfig, env).protection is expected


def test_the_account_is_the_sender_where_none_is_set_as_in_the_original():
    login = {"SMTP_HOST": "h", "SMTP_USER": "ops@example.com", "SMTP_PASS": "demo-password"}
    assert load(EmailConfig, login).mailbox.address == "ops@example.com"
    assert load(EmailConfig, login | {"SMTP_FROM": "A <a@x.example>"}).mailbox == Mailbox("a@x.example", "A")
    assert load(EmailConfig, {"SMTP_HOST": "h"}).mailbox.address == "aisopsflow@localhost"


@pytest.mark.parametrize(
    "env", [{"SMTP_USER": "u"}, {"SMTP_PASS": "demo-password"}, {"SMTP_FROM": "x\r\ny"}, {"SMTP_PORT": "0"}]
)
def test_a_configuration_that_contradicts_itself_is_refused(env):
    with pytest.raises(ConfigInvalid) as refused:
        load(EmailConfig, {"SMTP_HOST": "h"} | env)
    assert "demo-password" not in str(refused.value.details)
