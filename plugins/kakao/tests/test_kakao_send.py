"""kakao.alimtalk.send against the BizMessage stand-in, through the real sidecar server."""

import json

import pytest

from aisops_plugin_kakao import plugin
from aisops_plugin_sdk.testing import PluginTest
from demo.providers.faults import Fault, FaultKind
from demo.providers.kakao import DEMO_TEMPLATE, KakaoStandIn

pytestmark = pytest.mark.integration
TEXT = "디스크 부족 🚨 <no> writes & more"
RENDERED = DEMO_TEMPLATE.text.replace("#{text}", TEXT)
NUMBERS = ["01000000001", "01000000002", "01000000003"]


@pytest.fixture
async def kakao():
    async with KakaoStandIn() as stand_in:
        yield stand_in


def account(kakao, **changes):
    return {
        "base_url": kakao.url, "client_id": kakao.client_id, "client_secret": kakao.client_secret,
        "sender_key": kakao.sender_key, "sender_no": kakao.sender_no,
        "templates": {"alert": {"template_code": DEMO_TEMPLATE.code, "message": DEMO_TEMPLATE.text}},
    } | changes  # fmt: skip


def served(kakao, **changes):
    env = {
        "KAKAO_BIZ_PROVIDERS_JSON": json.dumps({"dkt": account(kakao, **changes)}),
        "KAKAO_DEFAULT_PROVIDER": "dkt",
        "KAKAO_DEFAULT_TEMPLATE": "alert",
    }
    return PluginTest(plugin, env=env)


def alimtalk(**changes):
    return {"provider_id": "dkt", "template_id": "alert", "to": NUMBERS, "vars": {"text": TEXT}} | changes


async def test_each_recipient_gets_the_template_to_the_letter_under_its_own_id(kakao):
    async with served(kakao) as t:
        answer = await t.invoke("kakao.alimtalk.send", alimtalk(trace_id="trace-1"), idempotency_key="k-1")
    assert sorted(message.to for message in kakao.received) == NUMBERS
    assert {message.text for message in kakao.received} == {RENDERED}
    assert len({message.cid for message in kakao.received}) == 3
    assert all(message.unknown == () for message in kakao.received)
    assert [item["to"] for item in answer.result["per_recipient"]] == NUMBERS
    assert answer.result["refs"]["trace_id"] == "trace-1"


async def test_the_originals_own_path_is_served(kakao):
    async with served(kakao) as t:
        answer = await t.post("/kakao/alimtalk/send", alimtalk(tenant_id="t_default", to=NUMBERS[:1]))
    assert (answer.status, answer.ok) == (200, True)
    assert kakao.received[0].text == RENDERED


async def test_the_same_key_sent_again_by_a_new_process_is_recognised_by_the_provider(kakao):
    for expected in ("accepted", "duplicate"):
        async with served(kakao) as t:
            answer = await t.invoke("kakao.alimtalk.send", alimtalk(), idempotency_key="k-1")
        assert answer.result["status"] == expected
    assert (len(kakao.received), len(kakao.duplicates)) == (3, 3)


async def test_a_retry_after_a_lost_answer_reaches_everybody_exactly_once(kakao):
    kakao.faults.add(Fault(FaultKind.DROP_AFTER_ACCEPT), Fault(FaultKind.DROP_BEFORE_ACCEPT))
    async with served(kakao) as t:
        first = await t.invoke("kakao.alimtalk.send", alimtalk(), idempotency_key="k-1")
        second = await t.invoke("kakao.alimtalk.send", alimtalk(), idempotency_key="k-1")
    assert (first.ambiguous, second.ok) == (True, True), first.document
    assert sorted(message.to for message in kakao.received) == NUMBERS


async def test_one_refused_recipient_does_not_stop_the_rest(kakao):
    kakao.faults.add(Fault(FaultKind.REFUSE, code="3018"))
    async with served(kakao) as t:
        answer = await t.invoke("kakao.alimtalk.send", alimtalk(), idempotency_key="k-1")
    results = answer.result["per_recipient"]
    assert sorted(item["status"] for item in results) == ["accepted", "accepted", "failed"]
    assert [item["code"] for item in results if item["status"] == "failed"] == ["3018"]
    assert len(kakao.received) == 2


async def test_the_token_is_fetched_once_and_again_when_it_is_refused(kakao):
    async with served(kakao) as t:
        await t.invoke("kakao.alimtalk.send", alimtalk(), idempotency_key="k-1")
        assert kakao.tokens_issued == 1
        kakao.revoke_tokens()
        answer = await t.invoke("kakao.alimtalk.send", alimtalk(), idempotency_key="k-2")
    assert answer.ok, answer.document
    assert (len(kakao.received), kakao.tokens_issued) == (6, 2)


@pytest.mark.parametrize("style", ["space", "base64"])
async def test_both_forms_of_credentials_work_where_the_provider_takes_them(style):
    async with KakaoStandIn(auth_style=style) as strict:
        async with served(strict, auth_style=style) as t:
            assert (await t.invoke("kakao.alimtalk.send", alimtalk())).ok
        other = "base64" if style == "space" else "space"
        async with served(strict, auth_style=other) as t:
            answer = await t.invoke("kakao.alimtalk.send", alimtalk())
            assert (answer.status, answer.code) == (401, "credentials_refused")


async def test_a_configured_access_token_is_used_as_it_is(kakao):
    changes = {"client_id": "", "client_secret": None, "access_token": "demo-static-token"}
    async with served(kakao, **changes) as t:
        answer = await t.invoke("kakao.alimtalk.send", alimtalk())
    assert (answer.status, answer.code) == (401, "400")
    assert kakao.tokens_issued == 0


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("1003", 502, False),
        ("3016", 400, False),
        ("3018", 422, False),
        ("3022", 422, False),
        ("3000", 503, True),
        ("API_4611", 502, False),
        ("520", 503, True),
        ("3005", 502, False),
    ],
)
async def test_each_code_comes_out_as_its_class(kakao, code, status, retryable):
    kakao.faults.add(Fault(FaultKind.REFUSE, code=code))
    async with served(kakao) as t:
        answer = await t.invoke("kakao.alimtalk.send", alimtalk(to=NUMBERS[:1]))
    assert (answer.status, answer.retryable, answer.ambiguous) == (status, retryable, code == "3005"), answer.document
    assert kakao.received == []


async def test_numbers_appear_in_logs_and_errors_masked_only(kakao):
    kakao.faults.add(*[Fault(FaultKind.REFUSE, code="3018")] * 3)
    async with served(kakao) as t:
        answer = await t.invoke("kakao.alimtalk.send", alimtalk())
    said = json.dumps(answer.document) + repr(t.logs)
    assert not [number for number in NUMBERS if number in said]
    assert "010****0001" in said


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"provider_id": "other"}, "unknown_provider"),
        ({"template_id": "other"}, "unknown_template"),
        ({"to": []}, "invalid_request"),
        ({"to": [""]}, "invalid_request"),
        ({"to": ["12"]}, "bad_phone_number"),
        ({"to": ["01000000000"] * 101}, "invalid_request"),
        ({"vars": {"text": "x" * 1001}}, "message_too_long"),
        ({"vars": {"text": ["list"]}}, "invalid_request"),
        ({"trace_id": "x" * 129}, "invalid_request"),
    ],
)
async def test_input_that_cannot_be_sent_is_refused_before_anything_is_sent(kakao, changes, code):
    async with served(kakao) as t:
        answer = await t.invoke("kakao.alimtalk.send", alimtalk(**changes))
    assert (answer.status, answer.code) == (400, code)
    assert (kakao.calls, kakao.tokens_issued) == (0, 0)


async def test_a_missing_variable_is_left_empty_and_told(kakao):
    async with served(kakao) as t:
        answer = await t.invoke("kakao.alimtalk.send", alimtalk(vars={}, to=NUMBERS[:1]))
    assert answer.ok
    assert kakao.received[0].text == DEMO_TEMPLATE.text.replace("#{text}", "")
    assert [record.fields for record in t.logs] == [{"variables": ["text"]}]


@pytest.mark.parametrize(
    "document",
    ["{", "[]", '{"dkt": {}}', '{"dkt": {"base_url": "http://kakao.example.com", "sender_key": "k", "templates": {}}}'],
)
async def test_a_broken_configuration_is_refused_by_name_and_not_shown(document):
    async with PluginTest(plugin, env={"KAKAO_BIZ_PROVIDERS_JSON": document}) as t:
        answer = await t.send({"target": "01000000000", "text": TEXT})
    assert (answer.status, answer.code) == (503, "not_configured")
    assert {detail["path"] for detail in answer.details} == {"KAKAO_BIZ_PROVIDERS_JSON"}
    assert "kakao.example.com" not in str(answer.document)
