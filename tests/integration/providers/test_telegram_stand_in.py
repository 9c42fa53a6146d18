"""The Telegram stand-in answers as the Bot API does."""

import json
from pathlib import Path

import aiohttp
import pytest

from demo.providers.faults import Fault, FaultKind
from demo.providers.telegram import DEFAULT_CHAT, FIELDS, TelegramChats, TelegramStandIn
from demo.providers.telegram_text import EntityError, plain_text, utf16_length

SPECS = Path(__file__).resolve().parents[3].parent / "shared" / "specs"
needs_specs = pytest.mark.skipif(not SPECS.is_dir(), reason="the provider specifications are not on this machine")
OLD_GROUP, NEW_GROUP, BLOCKED = -42, -1_001_000_000_042, 77


@pytest.fixture
async def telegram():
    chats = TelegramChats(migrated={OLD_GROUP: NEW_GROUP}, blocked={BLOCKED}, topics={NEW_GROUP: {5}})
    chats.known |= {NEW_GROUP: NEW_GROUP, BLOCKED: BLOCKED}
    async with TelegramStandIn(chats) as stand_in:
        yield stand_in


async def call(telegram, method="sendMessage", token=None, **fields):
    url = f"{telegram.url}/bot{token or telegram.token}/{method}"
    async with aiohttp.ClientSession() as session, session.post(url, json=fields) as answer:
        return answer.status, await answer.json()


@pytest.mark.integration
async def test_a_message_comes_back_with_its_id(telegram):
    status, answer = await call(telegram, chat_id=str(DEFAULT_CHAT), text="디스크 부족 🚨", disable_notification=True)
    assert (status, answer["ok"]) == (200, True)
    assert answer["result"]["chat"]["id"] == DEFAULT_CHAT
    assert (telegram.received[0].text, telegram.received[0].unknown) == ("디스크 부족 🚨", ())


@pytest.mark.integration
@pytest.mark.parametrize(
    ("fields", "code", "description"),
    [
        ({"text": "t"}, 400, "chat_id is empty"),
        ({"chat_id": 1, "text": "t"}, 400, "chat not found"),
        ({"chat_id": BLOCKED, "text": "t"}, 403, "Forbidden: bot was blocked by the user"),
        ({"chat_id": NEW_GROUP, "text": " "}, 400, "message text is empty"),
        ({"chat_id": NEW_GROUP, "text": "👍" * 2049}, 400, "message is too long"),
        ({"chat_id": NEW_GROUP, "text": "<b>t", "parse_mode": "HTML"}, 400, "can't parse entities"),
        ({"chat_id": NEW_GROUP, "text": "t", "parse_mode": "Nonsense"}, 400, "unsupported parse_mode"),
        ({"chat_id": NEW_GROUP, "text": "t", "message_thread_id": 6}, 400, "message thread not found"),
        ({"chat_id": NEW_GROUP, "text": 5}, 400, 'field "text"'),
    ],
)
async def test_what_the_bot_api_refuses_is_refused(telegram, fields, code, description):
    status, answer = await call(telegram, **fields)
    assert (status, answer["ok"], answer["error_code"]) == (code, False, code)
    assert description in answer["description"]
    assert telegram.received == []


@pytest.mark.integration
async def test_an_upgraded_group_names_its_new_id(telegram):
    _, answer = await call(telegram, chat_id=OLD_GROUP, text="t")
    assert answer["parameters"] == {"migrate_to_chat_id": NEW_GROUP}


@pytest.mark.integration
async def test_tokens_and_methods_are_checked(telegram):
    assert (await call(telegram, token="1:wrong", chat_id=1, text="t"))[0] == 401
    assert (await call(telegram, token="nonsense", chat_id=1, text="t"))[0] == 404
    assert (await call(telegram, method="nonsense"))[0] == 404
    assert (await call(telegram, method="getMe"))[1]["result"]["is_bot"]


@pytest.mark.integration
async def test_a_rate_limit_names_its_seconds(telegram):
    telegram.faults.add(Fault(FaultKind.RATE_LIMIT, retry_after_s=7))
    status, answer = await call(telegram, chat_id=DEFAULT_CHAT, text="t")
    assert (status, answer["parameters"]) == (429, {"retry_after": 7})


@pytest.mark.integration
@pytest.mark.parametrize(("kind", "accepted"), [(FaultKind.DROP_BEFORE_ACCEPT, 0), (FaultKind.DROP_AFTER_ACCEPT, 1)])
async def test_a_drop_happens_on_the_side_of_acceptance_that_was_asked_for(telegram, kind, accepted):
    telegram.faults.add(Fault(kind))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await call(telegram, chat_id=DEFAULT_CHAT, text="t")
    assert (telegram.calls, len(telegram.received)) == (1, accepted)


def test_lengths_count_utf16_code_units():
    assert utf16_length("👍가") == 3


def test_markup_is_read_and_bad_markup_is_named():
    assert plain_text("<b>a</b> &lt; <i>b</i>", "HTML") == "a < b"
    assert plain_text(r"*a* 1\.5", "MarkdownV2") == "a 1.5"
    with pytest.raises(EntityError, match="reserved"):
        plain_text("1.5", "MarkdownV2")


@needs_specs
def test_the_fields_and_types_are_those_of_the_bot_api():
    published = json.loads((SPECS / "telegram_bot_api.json").read_text())["methods"]["sendMessage"]["fields"]
    json_types = {"String": str, "Integer": int, "Boolean": bool}
    for field in published:
        expected = {json_types.get(kind, list if kind.startswith("Array") else dict) for kind in field["types"]}
        assert set(FIELDS[field["name"]]) == expected, field["name"]
    assert set(FIELDS) == {field["name"] for field in published}


@needs_specs
@pytest.mark.integration
async def test_answers_use_only_fields_of_the_bot_api(telegram):
    types = json.loads((SPECS / "telegram_bot_api.json").read_text())["types"]
    message = {field["name"]: field for field in types["Message"]["fields"]}
    user = {field["name"]: field for field in types["User"]["fields"]}
    result = (await call(telegram, chat_id=NEW_GROUP, text="t", message_thread_id=5))[1]["result"]
    assert set(result) <= set(message)
    assert {name for name, field in message.items() if field["required"]} <= set(result)
    assert set(result["from"]) <= set(user)
    assert {name for name, field in user.items() if field["required"]} <= set(result["from"])
