"""Slack's rules: escaping, mentions, limits, metadata, and what each error of Slack means."""

import html
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk import Ambiguous, InvalidRequest, Permanent, ProviderError, RateLimited, Transient, Unauthorized
from aisops_plugin_slack import rules
from aisops_plugin_slack.message import (
    TEXT_MAX,
    SlackMessage,
    arguments,
    escape,
    quiet_block,
    unescape,
    without_broadcast,
)

SPECS = Path(__file__).resolve().parents[3].parent / "shared" / "specs"
needs_specs = pytest.mark.skipif(not SPECS.is_dir(), reason="the provider specifications are not on this machine")


def built(text="t", *, key="k-1", allow=False, **fields):
    return arguments(SlackMessage(target="#ops", text=text, **fields), idempotency_key=key, allow_broadcast=allow)


@given(st.text())
def test_escaping_is_undone_by_what_slack_shows(text):
    assert unescape(escape(text)) == text
    assert not set("<>") & set(escape(text))


@given(st.text(alphabet="&<>!|@here channlvyo;#ltgamp\n"))
def test_an_escaped_text_can_never_mention_or_link(text):
    shown = built(text or "t")["text"] if text.strip() else "t"
    assert "<" not in shown
    assert html.unescape(shown).replace("\u200b", "") == (text if text.strip() else "t")


@given(st.text(alphabet="<!>@|here chanlvyo", max_size=60))
def test_no_mention_of_everybody_survives_in_unescaped_text(text):
    quiet = without_broadcast(text).lower()
    assert not any(mark in quiet for mark in ("<!here>", "<!channel>", "<!everyone>"))
    assert not any(f"{mention} " in f"{quiet} " for mention in ("@here", "@channel", "@everyone"))


@pytest.mark.parametrize("text", ["<!channel>", "<!here|here>", "@here", "@Channel now", "a @everyone!"])
def test_mentions_of_everybody_are_inert_unless_allowed(text):
    assert "\u200b" in built(text, escape=False)["text"]


def test_allowed_mentions_of_everybody_are_kept_in_escaped_text():
    assert built("<!here> a < b", allow=True)["text"] == "<!here> a &lt; b"
    assert built("a@hereafter.example")["text"] == "a@hereafter.example"


def test_mrkdwn_is_sent_as_written_when_the_caller_says_so():
    assert (
        built("<https://ops.example.com|runbook> & more", escape=False)["text"]
        == "<https://ops.example.com|runbook> & more"
    )


def test_blocks_lose_their_mentions_and_broadcast_elements_are_refused():
    block = {"type": "section", "text": {"type": "mrkdwn", "text": "<!channel> down"}}
    assert quiet_block(block)["text"]["text"] == "@\u200bchannel down"
    with pytest.raises(InvalidRequest, match="SLACK_ALLOW_BROADCAST"):
        quiet_block({"type": "rich_text", "elements": [{"type": "broadcast", "range": "here"}]})
    assert built(blocks=[block], allow=True)["blocks"] == [block]


def test_a_text_over_the_limit_once_escaped_is_refused():
    assert len(built("x" * TEXT_MAX)["text"]) == TEXT_MAX
    with pytest.raises(InvalidRequest, match="40003"):
        built("x" * (TEXT_MAX - 1) + "<")


def test_the_idempotency_key_travels_in_the_metadata_beside_the_callers_own():
    metadata = built(metadata={"event_type": "deploy", "event_payload": {"id": 7, "idem": "forged"}})["metadata"]
    assert metadata == {"event_type": "deploy", "event_payload": {"id": 7, "idem": "k-1"}}
    assert built()["metadata"] == {"event_type": "aisops_message", "event_payload": {"idem": "k-1"}}


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (429, "ratelimited", RateLimited),
        (200, "ratelimited", RateLimited),
        (503, "", Transient),
        (200, "service_unavailable", Transient),
        (500, "", Ambiguous),
        (502, "", Ambiguous),
        (504, "", Ambiguous),
        (200, "internal_error", Ambiguous),
        (200, "fatal_error", Ambiguous),
        (200, "invalid_auth", Unauthorized),
        (200, "missing_scope", Unauthorized),
        (403, "", Unauthorized),
        (200, "channel_not_found", Permanent),
        (200, "is_archived", Permanent),
        (200, "no_text", InvalidRequest),
        (200, "something_new", ProviderError),
        (418, "", ProviderError),
    ],
)
def test_every_refusal_has_its_meaning(status, error, expected):
    judged = rules.refusal(status, error, "7")
    assert type(judged) is expected
    assert judged.retry_after_s == (7.0 if expected is RateLimited else None)


@pytest.mark.parametrize(("header", "seconds"), [("30", 30.0), (None, 30.0), ("soon", 30.0), ("-1", 0.0), ("0.5", 0.5)])
def test_retry_after_is_read_or_replaced(header, seconds):
    assert rules.retry_after_s(header) == seconds


@needs_specs
def test_every_published_error_string_is_judged():
    groups = json.loads((SPECS / "slack_error_classes.json").read_text())["groups"]
    meaning = {"retry_after": RateLimited, "config": Unauthorized, "target": Permanent, "content": InvalidRequest}
    for group, expected in meaning.items():
        for error in groups[group]:
            assert type(rules.refusal(200, error)) is expected, error
    for error in groups["transient"]:
        # Two of them may come after the message was posted: see the module's docstring.
        assert type(rules.refusal(200, error)) is (Ambiguous if error in rules.MAYBE_DONE else Transient), error
