"""Speaks to Slack's Web API through slack-sdk, one request per call and never a second one by itself."""

import logging
from typing import Any, NoReturn

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from aisops_plugin_sdk import Ambiguous, Http
from aisops_plugin_slack.config import SlackConfig
from aisops_plugin_slack.rules import refusal

_silent = logging.getLogger("aisops_plugin_slack.slack_sdk")
# slack-sdk logs whole requests at DEBUG; message texts have no place in logs.
_silent.setLevel(logging.WARNING)


class SlackClient:
    """One workspace, one bot token.

    Args:
        config: address and token.
        http: the way to Slack.
    """

    def __init__(self, config: SlackConfig, http: Http) -> None:
        self._http = http
        self._web = AsyncWebClient(
            token=config.token.reveal(),
            base_url=f"{config.api_base_url}/",
            session=http.session,
            # The default handler repeats a post after a dropped connection, which posts twice.
            retry_handlers=[],
            logger=_silent,
        )
        # slack-sdk takes a proxy from the environment even for loopback; the session has the right one already.
        self._web.proxy = None

    async def call(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a method once and return the body of its success.

        Args:
            method: such as `chat.postMessage`.
            arguments: sent as JSON.

        Raises:
            PluginError: by what Slack answered (`rules.py`), or by whether the request had left.
        """
        async with self._http.attempt():
            try:
                answer = await self._web.api_call(method, json=arguments)
            except SlackApiError as error:
                _refuse(error.response)
            except (aiohttp.ClientError, OSError):
                # For `attempt` to judge; some of them are ValueErrors too.
                raise
            except (SlackClientError, AttributeError, ValueError):
                # slack-sdk trips over bodies that are not Slack's, such as the page of a captive portal.
                raise Ambiguous("the answer is not Slack's; the message may have been posted") from None
        data = answer.data
        if not isinstance(data, dict):
            raise Ambiguous("the answer is not Slack's; the message may have been posted")
        return data


def _refuse(response: Any) -> NoReturn:
    """Raise what a refused answer means; slack-sdk hands over its own or aiohttp's response object."""
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    data = getattr(response, "data", None)
    error = str(data.get("error") or "") if isinstance(data, dict) else ""
    if status == 200 and not error:
        raise Ambiguous("Slack's answer cannot be read; the message may have been posted")
    raise refusal(status, error, response.headers.get("Retry-After"))
