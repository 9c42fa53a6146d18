"""Speaks the Bot API over HTTP, one request per call. The token is part of the path and is never written anywhere."""

import json
from typing import Any

from aisops_plugin_sdk import Ambiguous, Http
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

    Args:
        config: address and token.
        http: the way to the Bot API server.
    """

    def __init__(self, config: TelegramConfig, http: Http) -> None:
        self._http = http
        self._prefix = f"/bot{config.token.reveal()}/"

    async def call(self, method: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Call a method once and return its result.

        Args:
            method: such as `sendMessage`.
            fields: sent as JSON.

        Raises:
            TelegramRefusedError: the Bot API, or a gateway in front of it, said no.
            Transient: nothing had left.
            Ambiguous: the request left, and no answer or none of Telegram's came.
        """
        answer = await self._http.post(self._prefix + method, json=fields)
        status, body = answer.status, _object(answer.body)
        result = body.get("result")
        if status == 200 and body.get("ok") is True and isinstance(result, dict):
            return result
        if status == 200 and body.get("ok") is not False:
            raise Ambiguous("the answer is not Telegram's; the message may have been sent")
        raise TelegramRefusedError(read_refusal(status, body, answer.headers.get("retry-after")))


def _object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object; anything else is empty."""
    try:
        document = json.loads(raw)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
