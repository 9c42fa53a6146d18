"""Speaks the Bot API over HTTP, one request per call. The token is part of the path and is never written anywhere."""

import json
from typing import Any

from aisops_plugin_sdk import Ambiguous
from aisops_plugin_sdk.outbound import Outbound, read_at_most
from aisops_plugin_telegram.config import TelegramConfig
from aisops_plugin_telegram.rules import Refusal, read_refusal

ANSWER_MAX_BYTES = 256 * 1024


class TelegramRefusedError(Exception):
    """The Bot API said no; `refusal` is what it said."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.description)
        self.refusal = refusal


class TelegramClient:
    """One bot at one Bot API server.

    Raises:
        NotConfigured: the configured file of authorities cannot be read.
    """

    def __init__(self, config: TelegramConfig) -> None:
        self._outbound = Outbound(config.api_base_url, ca_file=config.ca_file, proxy=config.proxy)
        self._prefix = f"{config.api_base_url}/bot{config.token.reveal()}/"

    async def close(self) -> None:
        """Close every connection."""
        await self._outbound.close()

    async def call(self, method: str, fields: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Call a method once and return its result.

        Args:
            method: such as `sendMessage`.
            fields: sent as JSON.
            timeout_s: seconds for the whole request.

        Raises:
            TelegramRefusedError: the Bot API, or a gateway in front of it, said no.
            Transient: nothing had left.
            Ambiguous: the request left, and no answer or none of Telegram's came.
        """
        async with (
            self._outbound.attempt("Telegram", timeout_s),
            self._outbound.session.post(self._prefix + method, json=fields) as answer,
        ):
            raw = await read_at_most(answer, ANSWER_MAX_BYTES)
            status, retry_after = answer.status, answer.headers.get("Retry-After")
        body = _object(raw)
        result = body.get("result")
        if status == 200 and body.get("ok") is True and isinstance(result, dict):
            return result
        if status == 200 and body.get("ok") is not False:
            raise Ambiguous("the answer is not Telegram's; the message may have been sent")
        raise TelegramRefusedError(read_refusal(status, body, retry_after))


def _object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object; anything else is empty."""
    try:
        document = json.loads(raw)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
