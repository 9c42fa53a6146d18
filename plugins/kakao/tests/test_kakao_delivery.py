"""kakao.alimtalk.send keeps what the Runner relies on, seen from BizMessage's side: it knows a `cid` again."""

import json

import pytest

from aisops_plugin_kakao import plugin
from aisops_plugin_sdk.testing.delivery import BEHAVIOURS, DeliverySubject, examine_delivery
from demo.providers.kakao import DEMO_TEMPLATE, KakaoStandIn
from tests.support.stand_in_upstream import StandInUpstream

pytestmark = pytest.mark.integration


def environment(kakao):
    account = {
        "base_url": kakao.url, "client_id": kakao.client_id, "client_secret": kakao.client_secret,
        "sender_key": kakao.sender_key, "sender_no": kakao.sender_no,
        "templates": {"alert": {"template_code": DEMO_TEMPLATE.code, "message": DEMO_TEMPLATE.text}},
    }  # fmt: skip
    return {"KAKAO_BIZ_PROVIDERS_JSON": json.dumps({"dkt": account}), "KAKAO_DEFAULT_PROVIDER": "dkt"}


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda one: one.__name__)
async def test_delivery(behaviour):
    async with KakaoStandIn() as kakao:
        upstream = StandInUpstream(kakao, environment(kakao), lambda message: message.cid)
        given = {"provider_id": "dkt", "template_id": "alert", "to": ["01000000001"], "vars": {"text": "full"}}
        finding = await examine_delivery(
            behaviour, DeliverySubject(plugin, "kakao.alimtalk.send", given, upstream, installed="kakao")
        )
    assert finding.outcome != "failed", finding.reason
