"""slack.send keeps what the Runner relies on, seen from Slack's side."""

import pytest

from aisops_plugin_sdk.testing.delivery import BEHAVIOURS, DeliverySubject, examine_delivery
from aisops_plugin_slack import plugin
from demo.providers.slack import SlackStandIn
from tests.support.stand_in_upstream import StandInUpstream

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda one: one.__name__)
async def test_delivery(behaviour):
    async with SlackStandIn() as slack:
        env = {"SLACK_BOT_TOKEN": slack.token, "SLACK_API_BASE_URL": slack.api_url}
        upstream = StandInUpstream(slack, env, lambda message: message.arguments["metadata"]["event_payload"]["idem"])
        given = {"target": "#ops", "text": "hello"}
        finding = await examine_delivery(
            behaviour, DeliverySubject(plugin, "slack.send", given, upstream, installed="slack")
        )
    assert finding.outcome != "failed", finding.reason
