"""Kakao's rules: numbers, variables, ids, codes, and the verdict on a call with several recipients."""

import base64
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_kakao.client import basic
from aisops_plugin_kakao.config import KakaoProvider, KakaoTemplate
from aisops_plugin_kakao.message import (
    CID_MAX,
    accept,
    body,
    masked,
    message_cid,
    national,
    phone_number,
    recipients,
    render,
    text_of,
    variables,
)
from aisops_plugin_kakao.rules import Kind, Verdict, api_kind, conclude, judge, kakao_kind
from aisops_plugin_sdk import (
    Ambiguous,
    InvalidRequest,
    Permanent,
    PluginError,
    ProviderError,
    RateLimited,
    Transient,
    Unauthorized,
)

SPECS = Path(__file__).resolve().parents[3].parent / "shared" / "specs"
needs_specs = pytest.mark.skipif(not SPECS.is_dir(), reason="the provider specifications are not on this machine")
PROVIDER = KakaoProvider.model_validate(
    {
        "base_url": "https://bizmessage.example.com",
        "access_token": "demo-token",
        "sender_key": "demo-key",
        "sender_no": "0215880000",
        "templates": {},
    }
)


def template(message="#{text}", **fields):
    return KakaoTemplate.model_validate({"template_code": "t1", "message": message, **fields})


@pytest.mark.parametrize(
    ("given_number", "normal"),
    [
        ("010-0000-0000", "01000000000"),
        ("+82 10 0000 0000", "821000000000"),
        ("(02) 1588.0000", "0215880000"),
        ("821000000000", "821000000000"),
    ],
)
def test_numbers_are_normalised(given_number, normal):
    assert phone_number(given_number) == normal


@pytest.mark.parametrize("text", ["12345", "010000000001234", "ops@example.com", "+1 212 000 0000", "०१०-0000-0000"])
def test_what_is_no_korean_number_is_refused_without_repeating_it(text):
    with pytest.raises(InvalidRequest) as refused:
        phone_number(text)
    assert text not in str(refused.value)


def test_the_same_recipient_in_two_spellings_gets_one_message():
    assert recipients(["010-0000-0000", "+82 10-0000-0000", "010-0000-0001"]) == ["01000000000", "01000000001"]


@given(st.text(), st.text(), st.text(), st.from_regex(r"(82|0)10[0-9]{8}", fullmatch=True))
def test_a_cid_is_short_plain_and_the_same_every_time(key, provider, name, number):
    cid = message_cid(key, provider, name, number)
    assert re.fullmatch(r"[a-z0-9-]+", cid)
    assert len(cid) == CID_MAX
    assert cid == message_cid(key, provider, name, national(number))


@given(
    st.lists(st.tuples(st.text(), st.text(), st.text(), st.sampled_from(["01000000000", "01000000001"])), unique=True)
)
def test_different_messages_have_different_cids(parts):
    assert len({message_cid(*part) for part in parts}) == len(parts)


@given(st.text(alphabet="0123456789+- ", max_size=40))
def test_a_masked_number_never_shows_more_than_seven_digits(number):
    shown = masked(number)
    assert len(shown) == len(number)
    assert sum(character != "*" for character in shown) <= 7


def test_both_forms_of_variables_are_filled_once_and_unknown_ones_become_empty():
    assert render("#{a}/{{ b }}/#{c}", {"a": "{{b}}", "b": "2"}) == "{{b}}/2/"
    assert variables(template("#{a} {{b}}", buttons=[{"url_mobile": "https://x/#{c}"}])) == {"a", "b", "c"}


@given(st.text(alphabet=st.characters(exclude_characters="#{}")))
def test_a_template_without_variables_stays_as_it_is(text):
    assert render(text, {"text": "x"}) == text


def test_values_are_written_as_json_writes_them():
    assert [text_of(value) for value in ("a", 7, 1.5, True, False)] == ["a", "7", "1.5", "true", "false"]


def test_the_body_takes_sender_and_key_from_the_template_first():
    own = template(
        sender_key="template-key", sender_no="025880001", title="제목", buttons=[{"name": "n", "type": "WL"}]
    )
    built = body(PROVIDER, own, {"text": "알림"})
    assert built == {
        "message_type": "AT", "sender_key": "template-key", "template_code": "t1", "message": "알림",
        "sender_no": "025880001", "title": "제목", "button": [{"name": "n", "type": "WL"}],
    }  # fmt: skip
    assert body(PROVIDER, template(), {})["sender_key"] == "demo-key"


def test_a_rendered_message_or_title_over_the_limit_is_refused():
    assert body(PROVIDER, template(), {"text": "가" * 1000})
    with pytest.raises(InvalidRequest, match="1001"):
        body(PROVIDER, template(), {"text": "가" * 1001})
    with pytest.raises(InvalidRequest, match="51"):
        body(PROVIDER, template(title="#{text}"), {"text": "가" * 51})


def test_target_and_text_become_one_recipient_and_a_variable():
    assert accept({"target": "010", "text": "t"}) == {"to": ["010"], "text": "t"}
    assert accept({"to": ["010"], "vars": {}}) == {"to": ["010"], "vars": {}}
    assert accept({"text": "t"}) == {"text": "t"}


def test_both_forms_of_basic_credentials():
    assert basic("id", "secret", "space") == "Basic id secret"
    assert basic("id", "secret", "base64") == "Basic " + base64.b64encode(b"id:secret").decode()


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (200, {"code": "API_200", "kko_status_code": "0000"}, Kind.ACCEPTED),
        (200, {"code": "200"}, Kind.ACCEPTED),
        (200, {"code": "100"}, Kind.ACCEPTED),
        (200, {"code": "API_202"}, Kind.ACCEPTED),
        (200, {"code": "API_200", "kko_status_code": "3012"}, Kind.DUPLICATE),
        (200, {"code": "API_200", "kko_status_code": "3016"}, Kind.PERMANENT),
        (200, {"code": "API_200", "kko_status_code": "3018"}, Kind.UNREACHABLE),
        (200, {"code": "API_200", "kko_status_code": "3005"}, Kind.AMBIGUOUS),
        (200, {"code": "API_200", "kko_status_code": "0001"}, Kind.PERMANENT),
        (200, {"code": "400"}, Kind.TOKEN),
        (401, {}, Kind.TOKEN),
        (200, {"code": "API_402"}, Kind.CONFIG),
        (200, {"code": "API_4611"}, Kind.CONFIG),
        (200, {"code": "410"}, Kind.PERMANENT),
        (200, {"code": "520"}, Kind.TRANSIENT),
        (502, {}, Kind.TRANSIENT),
        (429, {}, Kind.RATE_LIMITED),
        (200, {"code": "400", "result": {"detail_code": "ERR11000"}}, Kind.UNREACHABLE),
        (200, {}, Kind.AMBIGUOUS),
        (404, {}, Kind.PERMANENT),
    ],
)
def test_every_answer_has_its_kind(status, answer, kind):
    assert judge(status, answer).kind is kind


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["uid", "code", "message", "kko_status_code", "result"]),
        st.none() | st.integers() | st.text() | st.dictionaries(st.just("detail_code"), st.text()),
    ),
    st.none() | st.text(),
)
def test_any_answer_at_all_gets_a_verdict(status, answer, header):
    assert isinstance(judge(status, answer, header).kind, Kind)


def concluded(*kinds):
    return conclude(
        [(f"0100000000{index}", Verdict(kind, "c", uid=f"u{index}")) for index, kind in enumerate(kinds)], {}
    )


@pytest.mark.parametrize(
    ("kinds", "error"),
    [
        ((Kind.ACCEPTED, Kind.TRANSIENT), Transient),
        ((Kind.ACCEPTED, Kind.RATE_LIMITED, Kind.TRANSIENT), RateLimited),
        ((Kind.ACCEPTED, Kind.AMBIGUOUS), Ambiguous),
        ((Kind.UNREACHABLE,), Permanent),
        ((Kind.DEFERRED,), Permanent),
        ((Kind.TOKEN, Kind.PERMANENT), Unauthorized),
        ((Kind.CONFIG,), ProviderError),
        ((Kind.PERMANENT,), InvalidRequest),
    ],
)
def test_what_may_pass_makes_the_call_repeatable_and_all_refused_makes_it_fail(kinds, error):
    with pytest.raises(error) as raised:
        concluded(*kinds)
    assert isinstance(raised.value, PluginError)


def test_one_refused_recipient_does_not_hide_the_others():
    delivery = concluded(Kind.ACCEPTED, Kind.UNREACHABLE, Kind.DUPLICATE)
    assert delivery.status == "accepted"
    assert [item.status for item in delivery.per_recipient] == ["accepted", "failed", "duplicate"]
    assert concluded(Kind.DUPLICATE).status == "duplicate"


@needs_specs
def test_every_published_kakao_code_has_its_class():
    published = json.loads((SPECS / "kakao_result_codes.json").read_text())["codes"]
    for code, entry in published.items():
        expected = "accepted" if entry["class"] == "success" else entry["class"]
        assert kakao_kind(code) == expected, code


@needs_specs
def test_every_published_code_of_the_api_is_known():
    codes = json.loads((SPECS / "kakao_dkt_bizmsg_v2.json").read_text())["codes"]
    permanent = {"410", "420", "ERR42009", "ERR50025", "ERR50028", "ERR50029"}
    assert {code for code in codes if api_kind(code) is Kind.PERMANENT} == permanent
