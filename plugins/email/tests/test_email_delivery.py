"""email.send keeps what the Runner relies on, seen from the mail server's side."""

import pytest

from aisops_plugin_email import plugin
from aisops_plugin_sdk.testing.delivery import BEHAVIOURS, DeliverySubject, examine_delivery
from demo.providers.smtp import SmtpStandIn
from tests.support.stand_in_upstream import StandInUpstream

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda one: one.__name__)
async def test_delivery(behaviour):
    async with SmtpStandIn() as server:
        env = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_FROM": "Ops <ops@demo.example>"}
        upstream = StandInUpstream(server, env, lambda mail: mail.message_id)
        given = {"to": "a@demo.example", "subject": "disk", "text": "full"}
        finding = await examine_delivery(
            behaviour, DeliverySubject(plugin, "email.send", given, upstream, installed="email")
        )
    assert finding.outcome != "failed", finding.reason
