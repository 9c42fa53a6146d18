"""telegram.send keeps what the Runner relies on, seen from Telegram's side."""

import pytest

from aisops_plugin_sdk.testing.delivery import BEHAVIOURS, DeliverySubject, examine_delivery
from aisops_plugin_telegram import plugin
from demo.providers.telegram import DEFAULT_CHAT, TelegramStandIn
from tests.support.stand_in_upstream import StandInUpstream

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda one: one.__name__)
async def test_delivery(behaviour):
    async with TelegramStandIn() as telegram:
        env = {"TELEGRAM_BOT_TOKEN": telegram.token, "TELEGRAM_API_BASE_URL": telegram.url}
        upstream = StandInUpstream(telegram, env, lambda message: str(message.message_id))
        given = {"chat_id": DEFAULT_CHAT, "text": "hello"}
        finding = await examine_delivery(
            behaviour, DeliverySubject(plugin, "telegram.send", given, upstream, installed="telegram")
        )
    assert finding.outcome != "failed", finding.reason
