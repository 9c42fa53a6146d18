"""The input of slack.send and what is sent for it: escaping, mentions, limits, metadata. Pure."""

import re
from typing import Any

from pydantic import BaseModel, Field, field_validator

from aisops_plugin_sdk import InvalidRequest

TEXT_MAX = 40_000
"""Slack cuts longer texts silently; the plugin refuses them instead."""
BLOCKS_MAX = 50
EVENT_TYPE = "aisops_message"
IDEMPOTENCY_FIELD = "idem"

_AT_MENTION = re.compile(r"@(?=(?:here|channel|everyone)\b)", re.IGNORECASE)
_MARKED_MENTION = re.compile(r"<!(here|channel|everyone)(?:\|[^<>]*)?>", re.IGNORECASE)
_ESCAPED_MENTION = re.compile(r"&lt;!(here|channel|everyone)&gt;", re.IGNORECASE)
_ZERO_WIDTH_SPACE = "\u200b"


class SlackMetadata(BaseModel):
    """Slack message metadata of the caller; the plugin adds its own field to the payload."""

    event_type: str = Field(EVENT_TYPE, min_length=1, max_length=255)
    event_payload: dict[str, Any] = Field(default_factory=dict)


class SlackMessage(BaseModel):
    """A message for one channel, conversation or user."""

    target: str = Field(
        min_length=1, max_length=128, description="Channel id (preferred), #name, or user id", examples=["#ops"]
    )
    text: str = Field(
        min_length=1,
        max_length=TEXT_MAX,
        description="The message; with blocks, what notifications show. At most 40,000 characters after escaping: "
        "Slack would silently cut longer ones",
        examples=["Disk full on db-01 & <no> writes"],
    )
    escape: bool = Field(
        default=True,
        description="Show `&`, `<` and `>` as themselves. False: the text is mrkdwn with links such as `<https://x|y>`",
    )
    blocks: list[dict[str, Any]] | None = Field(
        None, max_length=BLOCKS_MAX, description="Block Kit blocks, sent as given"
    )
    thread_ts: str | None = Field(
        None, pattern=r"^[0-9]{1,20}\.[0-9]{6}$", description="`ts` of the message to answer in a thread"
    )
    metadata: SlackMetadata | None = Field(None, description="Slack message metadata; `idem` in the payload is ours")

    @field_validator("target", "text")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        return value


def escape(text: str) -> str:
    """Escape the three characters that Slack gives a meaning; nothing else may be escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescape(text: str) -> str:
    """Turn an escaped text back."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def without_broadcast(text: str) -> str:
    """Make mentions of everybody inert, keeping them readable."""
    text = _MARKED_MENTION.sub(lambda found: f"@{found.group(1)}", text)
    return _AT_MENTION.sub(f"@{_ZERO_WIDTH_SPACE}", text)


def shown_text(message: SlackMessage, *, allow_broadcast: bool) -> str:
    """Build the `text` argument.

    Raises:
        InvalidRequest: it is over Slack's limit once escaped.
    """
    text = escape(message.text) if message.escape else message.text
    if not allow_broadcast:
        text = without_broadcast(text)
    elif message.escape:
        text = _ESCAPED_MENTION.sub(lambda found: f"<!{found.group(1).lower()}>", text)
    if len(text) > TEXT_MAX:
        raise InvalidRequest(
            f"text has {len(text)} characters once escaped; Slack takes {TEXT_MAX}", code="msg_too_long"
        )
    return text


def arguments(message: SlackMessage, *, idempotency_key: str, allow_broadcast: bool) -> dict[str, Any]:
    """Build the arguments of chat.postMessage.

    The idempotency key travels in the message's metadata, where an operator finds it after an ambiguous outcome.

    Raises:
        InvalidRequest: text too long, or a block that mentions everybody although that is not allowed.
    """
    given = message.metadata or SlackMetadata(event_type=EVENT_TYPE)
    payload = {**given.event_payload, IDEMPOTENCY_FIELD: idempotency_key} if idempotency_key else given.event_payload
    built: dict[str, Any] = {
        "channel": message.target,
        "text": shown_text(message, allow_broadcast=allow_broadcast),
        "metadata": {"event_type": given.event_type, "event_payload": payload},
    }
    if message.blocks:
        built["blocks"] = message.blocks if allow_broadcast else [quiet_block(block) for block in message.blocks]
    if message.thread_ts:
        built["thread_ts"] = message.thread_ts
    return built


def quiet_block(node: Any) -> Any:
    """Copy a block with every mention of everybody made inert.

    Raises:
        InvalidRequest: a rich text element of type `broadcast`, which has no inert form.
    """
    if isinstance(node, str):
        return without_broadcast(node)
    if isinstance(node, list):
        return [quiet_block(part) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "broadcast":
        raise InvalidRequest("a block mentions everybody, which SLACK_ALLOW_BROADCAST does not allow", code="broadcast")
    return {key: quiet_block(value) for key, value in node.items()}
