"""The Kakao stand-in answers as BizMessage v2 does: HTTP 200 always, the code tells."""

import base64
import json
from pathlib import Path

import aiohttp
import pytest

from demo.providers.faults import Fault, FaultKind
from demo.providers.kakao import DEMO_TEMPLATE, KakaoStandIn
from demo.providers.kakao_rules import FIELDS, Template

SPECS = Path(__file__).resolve().parents[3].parent / "shared" / "specs"
needs_specs = pytest.mark.skipif(not SPECS.is_dir(), reason="the provider specifications are not on this machine")
BUTTON = {"name": "열기", "type": "WL", "url_mobile": "https://ops.example.com"}


@pytest.fixture
async def kakao():
    async with KakaoStandIn(DEMO_TEMPLATE, Template("with_button", "t", (BUTTON,))) as stand_in:
        yield stand_in


async def token(kakao, style="space"):
    clear = f"{kakao.client_id} {kakao.client_secret}"
    basic = clear if style == "space" else base64.b64encode(clear.replace(" ", ":").encode()).decode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{kakao.url}/v2/oauth/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": f"Basic {basic}"},
        ) as answer,
    ):
        assert answer.status == 200
        return await answer.json()


async def send(kakao, **changes):
    body = {
        "message_type": "AT", "sender_key": kakao.sender_key, "cid": "c-1", "template_code": DEMO_TEMPLATE.code,
        "phone_number": "01000000000", "sender_no": kakao.sender_no,
        "message": DEMO_TEMPLATE.text.replace("#{text}", "디스크 부족 🚨"),
    } | changes  # fmt: skip
    bearer = (await token(kakao))["access_token"]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{kakao.url}/v2/send/kakao", json=body, headers={"Authorization": f"Bearer {bearer}"}) as answer,
    ):
        assert answer.status == 200
        return await answer.json()


@pytest.mark.integration
@pytest.mark.parametrize("style", ["space", "base64"])
async def test_both_forms_of_basic_credentials_give_a_token(kakao, style):
    answer = await token(kakao, style)
    assert (answer["token_type"], answer["expires_in"]) == ("bearer", 21_600)


@pytest.mark.integration
async def test_only_the_form_that_is_asked_for_is_taken():
    async with KakaoStandIn(auth_style="space") as strict:
        assert "access_token" in await token(strict, "space")
        assert (await token(strict, "base64"))["code"] == "400"


@pytest.mark.integration
async def test_a_message_is_accepted_once_per_cid(kakao):
    first = await send(kakao)
    assert (first["code"], first["kko_status_code"]) == ("API_200", "0000")
    again = await send(kakao)
    assert (again["kko_status_code"], again["uid"]) == ("3012", first["uid"])
    assert (len(kakao.received), kakao.duplicates) == (1, ["c-1"])


@pytest.mark.integration
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sender_key": "0" * 40}, "1003"),
        ({"phone_number": "12345"}, "3008"),
        ({"template_code": "unknown"}, "3015"),
        ({"message": DEMO_TEMPLATE.text + " "}, "3016"),
        ({"message": DEMO_TEMPLATE.text.replace("#{text}", "x" * 1000)}, "3014"),
        ({"message": ""}, "3013"),
        ({"template_code": "with_button", "message": "t"}, "3027"),
        ({"sender_no": ""}, "API_4611"),
        ({"cid": "c" * 31}, "410"),
        ({"message_type": "XX"}, "410"),
    ],
)
async def test_what_the_api_or_kakao_refuses_is_refused(kakao, changes, code):
    answer = await send(kakao, **changes)
    assert code in {answer["code"], answer.get("kko_status_code")}
    assert kakao.received == []


@pytest.mark.integration
async def test_a_button_equal_to_the_registered_one_passes(kakao):
    answer = await send(kakao, template_code="with_button", message="t", button=[BUTTON])
    assert answer["kko_status_code"] == "0000"


@pytest.mark.integration
@pytest.mark.parametrize(("kind", "accepted"), [(FaultKind.DROP_BEFORE_ACCEPT, 0), (FaultKind.DROP_AFTER_ACCEPT, 1)])
async def test_a_drop_happens_on_the_side_of_acceptance_that_was_asked_for(kakao, kind, accepted):
    kakao.faults.add(Fault(kind))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await send(kakao)
    assert (kakao.calls, len(kakao.received)) == (1, accepted)


@needs_specs
def test_the_fields_are_those_of_the_compiled_api_facts():
    facts = json.loads((SPECS / "kakao_dkt_bizmsg_v2.json").read_text())
    assert set(facts["send_body"]) == set(FIELDS)


@needs_specs
@pytest.mark.integration
async def test_answers_carry_the_documented_fields_and_known_codes(kakao):
    facts = json.loads((SPECS / "kakao_dkt_bizmsg_v2.json").read_text())
    names = json.loads((SPECS / "kakao_result_codes.json").read_text())["codes"]
    for changes in ({}, {"template_code": "unknown"}, {"phone_number": "1"}, {"message": ""}):
        answer = await send(kakao, **{"cid": f"c{len(changes)}{changes}"[:30], **changes})
        assert set(answer) <= set(facts["send_response_push"])
        assert names[answer["kko_status_code"]]["name"] == answer["kko_message"]
