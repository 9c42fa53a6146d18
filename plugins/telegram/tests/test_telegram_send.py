"""telegram.send against the Bot API stand-in, through the real sidecar server."""

import pytest

from aisops_plugin_sdk.testing import PluginTest
from aisops_plugin_telegram import plugin
from demo.providers.faults import Fault, FaultKind
from demo.providers.telegram import DEFAULT_CHAT, TelegramChats, TelegramStandIn

pytestmark = pytest.mark.integration
TEXT = "디스크 부족 🚨 <no> writes & more"
OLD_GROUP, BLOCKED = -42, 77


@pytest.fixture
async def telegram():
    chats = TelegramChats(migrated={OLD_GROUP: DEFAULT_CHAT}, blocked={BLOCKED}, topics={DEFAULT_CHAT: {5}})
    chats.known[BLOCKED] = BLOCKED
    async with TelegramStandIn(chats) as stand_in:
        yield stand_in


def served(telegram, **env):
    return PluginTest(plugin, env={"TELEGRAM_BOT_TOKEN": telegram.token, "TELEGRAM_API_BASE_URL": telegram.url, **env})


async def test_the_message_arrives_to_the_letter_with_its_options(telegram):
    body = {"chat_id": "@ops", "text": TEXT, "silent": True, "message_thread_id": 5, "link_preview": False}
    async with served(telegram) as t:
        answer = await t.invoke("telegram.send", body)
    (message,) = telegram.received
    assert (message.text, message.unknown) == (TEXT, ())
    assert message.fields["disable_notification"] is True
    assert answer.result["refs"] == {"message_id": "1", "chat_id": str(DEFAULT_CHAT)}


async def test_a_group_that_moved_is_followed_once_and_told(telegram):
    async with served(telegram) as t:
        answer = await t.invoke("telegram.send", {"chat_id": OLD_GROUP, "text": TEXT})
    assert answer.result["refs"]["migrated_to_chat_id"] == str(DEFAULT_CHAT)
    assert (telegram.calls, len(telegram.received)) == (2, 1)


async def test_a_group_that_moves_forever_ends_as_a_permanent_error(telegram):
    telegram.chats.migrated = {OLD_GROUP: -43, -43: OLD_GROUP}
    async with served(telegram) as t:
        answer = await t.invoke("telegram.send", {"chat_id": OLD_GROUP, "text": TEXT})
    assert (answer.status, answer.code, telegram.calls) == (422, "chat_migrated", 2)


async def test_unreadable_markup_falls_back_to_the_text_as_it_stands(telegram):
    async with served(telegram) as t:
        answer = await t.invoke("telegram.send", {"chat_id": DEFAULT_CHAT, "text": TEXT, "parse_mode": "HTML"})
    assert answer.result["refs"]["markup_refused"] == "true"
    assert [message.text for message in telegram.received] == [TEXT]


async def test_markup_that_can_be_read_is_used(telegram):
    async with served(telegram) as t:
        await t.invoke("telegram.send", {"chat_id": DEFAULT_CHAT, "text": "<b>a</b> &lt; b", "parse_mode": "HTML"})
    assert telegram.received[0].text == "a < b"


@pytest.mark.parametrize(
    ("fault", "status", "code", "retryable", "ambiguous"),
    [
        (Fault(FaultKind.REFUSE, code="Forbidden: bot was kicked", status=403), 422, "forbidden", False, False),
        (Fault(FaultKind.REFUSE, code="Bad Request: chat not found", status=400), 422, "target_unknown", False, False),
        (Fault(FaultKind.REFUSE, code="Bad Request: something", status=400), 502, "bad_request", False, False),
        (Fault(FaultKind.SERVER_ERROR, status=500), 502, "ambiguous", False, True),
        (Fault(FaultKind.SERVER_ERROR, status=503), 503, "unavailable", True, False),
    ],
)
async def test_each_refusal_comes_out_as_its_class(telegram, fault, status, code, retryable, ambiguous):
    telegram.faults.add(fault)
    async with served(telegram) as t:
        answer = await t.invoke("telegram.send", {"chat_id": DEFAULT_CHAT, "text": TEXT})
    assert (answer.status, answer.code, answer.retryable, answer.ambiguous) == (status, code, retryable, ambiguous)
    assert (telegram.calls, telegram.received) == (1, [])


async def test_a_blocked_bot_is_a_permanent_error_of_the_target(telegram):
    async with served(telegram) as t:
        answer = await t.invoke("telegram.send", {"chat_id": BLOCKED, "text": TEXT})
    assert (answer.status, answer.code, answer.retryable) == (422, "forbidden", False)


async def test_a_wrong_token_fails_the_check_and_the_call_without_being_shown(telegram):
    wrong = "1000000001:demo_wrong_token"
    async with served(telegram, TELEGRAM_BOT_TOKEN=wrong) as t:
        answers = [await t.get("/v1/config/check"), await t.send({"target": "1", "text": TEXT})]
    assert [(answer.status, answer.code) for answer in answers] == [(401, "credentials_refused")] * 2
    assert wrong not in str([answer.document for answer in answers]) + repr(t.logs)


@pytest.mark.parametrize("token", ["1:a/../../x", "nonsense", "1:a?b", "1:a b"])
async def test_a_token_that_could_change_the_path_is_refused_without_being_shown(telegram, token):
    async with served(telegram, TELEGRAM_BOT_TOKEN=token) as t:
        answer = await t.send({"target": "1", "text": TEXT})
    assert (answer.status, answer.code) == (503, "not_configured")
    assert token not in str(answer.document) + repr(t.logs)


@pytest.mark.parametrize(
    "body",
    [
        {"chat_id": 1, "text": " "},
        {"chat_id": True, "text": "t"},
        {"chat_id": "", "text": "t"},
        {"chat_id": "x" * 65, "text": "t"},
        {"chat_id": 1, "text": "t", "parse_mode": "Markdown"},
        {"chat_id": 1, "text": "t", "message_thread_id": 0},
        {"chat_id": 1, "text": "x" * 4097},
    ],
)
async def test_input_outside_the_limits_is_refused_before_anything_is_sent(telegram, body):
    async with served(telegram) as t:
        answer = await t.invoke("telegram.send", body)
    assert answer.status == 400
    assert telegram.calls == 0
