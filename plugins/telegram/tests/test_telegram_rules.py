"""Telegram's rules: lengths, fields, and what each error of the Bot API means."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk import Ambiguous, InvalidRequest, Permanent, ProviderError, RateLimited, Transient, Unauthorized
from aisops_plugin_telegram.message import TelegramMessage, fields, utf16_length
from aisops_plugin_telegram.rules import judge, read_refusal

SPECS = Path(__file__).resolve().parents[3].parent / "shared" / "specs"
needs_specs = pytest.mark.skipif(not SPECS.is_dir(), reason="the provider specifications are not on this machine")


def refused(code, description="", **parameters):
    body = {"ok": False, "error_code": code, "description": description, "parameters": parameters}
    return judge(read_refusal(code, body))


@given(st.text())
def test_length_is_that_of_the_utf16_encoding(text):
    assert utf16_length(text) == len(text.encode("utf-16-le")) // 2


def test_the_limit_counts_code_units_and_markup_is_left_to_telegram():
    assert fields(TelegramMessage(chat_id=1, text="가" * 4096))["text"] == "가" * 4096
    with pytest.raises(InvalidRequest, match="4098"):
        fields(TelegramMessage(chat_id=1, text="👍" * 2049))
    assert fields(TelegramMessage(chat_id=1, text="👍" * 2049, parse_mode="HTML"))


@pytest.mark.parametrize(("given_id", "sent"), [("-1001", -1001), ("42", 42), ("@ops", "@ops"), (7, 7), ("1a", "1a")])
def test_a_numeric_chat_that_came_as_text_is_sent_as_a_number(given_id, sent):
    assert fields(TelegramMessage(chat_id=given_id, text="t"))["chat_id"] == sent


def test_options_become_the_documented_fields():
    message = TelegramMessage(
        chat_id=1, text="t", silent=True, message_thread_id=5, link_preview=False, parse_mode="HTML"
    )
    assert fields(message) == {
        "chat_id": 1, "text": "t", "parse_mode": "HTML", "disable_notification": True, "message_thread_id": 5,
        "link_preview_options": {"is_disabled": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "description", "expected"),
    [
        (401, "Unauthorized", Unauthorized),
        (404, "Not Found", Unauthorized),
        (403, "Forbidden: bot was blocked by the user", Permanent),
        (400, "Bad Request: chat not found", Permanent),
        (400, "Bad Request: message thread not found", Permanent),
        (400, "Bad Request: not enough rights to send text messages to the chat", Permanent),
        (400, "Bad Request: can't parse entities: x", InvalidRequest),
        (400, "Bad Request: message is too long", InvalidRequest),
        (400, "Bad Request: something new", ProviderError),
        (418, "", ProviderError),
        (500, "Internal Server Error", Ambiguous),
        (502, "Bad Gateway", Ambiguous),
        (503, "", Transient),
    ],
)
def test_every_refusal_has_its_meaning(code, description, expected):
    assert type(refused(code, description)) is expected


def test_the_seconds_of_a_rate_limit_are_exact_and_the_header_is_the_second_source():
    assert refused(429, "Too Many Requests: retry after 7", retry_after=7).retry_after_s == 7.0
    assert judge(read_refusal(429, {}, "11")).retry_after_s == 11.0
    assert isinstance(judge(read_refusal(429, {})), RateLimited)


@given(
    st.integers(),
    st.dictionaries(
        st.sampled_from(["error_code", "description", "parameters", "ok"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)
        | st.dictionaries(st.text(), st.text()),
    ),
    st.none() | st.text(),
)
def test_any_answer_at_all_gets_a_verdict(status, body, header):
    assert judge(read_refusal(status, body, header)).code


@needs_specs
def test_every_published_error_is_judged_by_its_class():
    meaning = {
        "config": (Unauthorized, Permanent), "target": (Permanent,), "content": (InvalidRequest, ProviderError),
        "content_fallback_plain": (InvalidRequest,), "retry_with_new_chat_id": (Permanent,),
    }  # fmt: skip
    published = json.loads((SPECS / "telegram_error_classes.json").read_text())["errors"]
    for code in ("400", "401", "403", "404", "421"):
        for entry in published[code]:
            if entry["class"] in meaning:
                moved = {"migrate_to_chat_id": -1} if "migrate" in str(entry) else {}
                assert isinstance(refused(int(code), entry["match"], **moved), meaning[entry["class"]]), entry
