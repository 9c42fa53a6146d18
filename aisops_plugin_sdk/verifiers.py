"""Signatures of providers, for `@plugin.webhook(verify=…)`. Pure; the time comes from the context."""

import hmac
import re
from collections.abc import Callable
from typing import Any

from aisops_plugin_sdk.errors import Unauthorized
from aisops_plugin_sdk.secret import Secret
from aisops_plugin_sdk.webhooks import Verify, WebhookRequest

SLACK_SKEW_S = 300
_TIMESTAMP = re.compile(r"[0-9]{1,15}", re.ASCII)


def slack_signature(secret: Callable[[Any], Secret | None]) -> Verify:
    """Verify Slack's signature v0: HMAC-SHA256 in hex over `v0:<timestamp>:<raw body>`, at most 300 s old or ahead.

    Args:
        secret: gives the signing secret from the plugin's config; None: every request is refused.
    """

    def verify(ctx: Any, request: WebhookRequest) -> None:
        known = secret(ctx.config)
        timestamp = request.headers.get("x-slack-request-timestamp", "")
        given = request.headers.get("x-slack-signature", "").encode("utf-8", "surrogateescape")
        if known is None or not _TIMESTAMP.fullmatch(timestamp):
            raise _refused()
        message = f"v0:{timestamp}:".encode() + request.body
        expected = "v0=" + hmac.digest(known.reveal().encode(), message, "sha256").hex()
        if not hmac.compare_digest(given, expected.encode()) or abs(ctx.clock() - int(timestamp)) > SLACK_SKEW_S:
            raise _refused()

    return verify


def _refused() -> Unauthorized:
    """The one refusal, which never says what was wrong."""
    return Unauthorized("unauthorized", code="unauthorized")
