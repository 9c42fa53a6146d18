"""What Slack's chat.postMessage takes and refuses: arguments, limits and error strings, without any I/O."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

ARGUMENTS = frozenset(
    {
        "channel", "text", "as_user", "attachments", "blocks", "thread_ts", "reply_broadcast", "unfurl_links",
        "unfurl_media", "unfurl_app_links", "container_id", "icon_emoji", "icon_url", "mrkdwn", "link_names",
        "username", "parse", "metadata", "markdown_text", "token",
    }
)  # fmt: skip
"""Documented arguments. Slack ignores others; the stand-in records them, so that a test can insist on none."""

TEXT_TRUNCATED_ABOVE = 40_000
MARKDOWN_MAX = 12_000
BLOCKS_MAX = 50
BLOCKS_TEXT_MAX = 13_200
SECTION_TEXT_MAX = 3_000
HEADER_TEXT_MAX = 150
BLOCK_TYPES = frozenset(
    {"actions", "context", "divider", "file", "header", "image", "input", "markdown", "rich_text", "section",
     "table", "video", "call", "context_actions"}
)  # fmt: skip
FLAGS = ("as_user", "reply_broadcast", "unfurl_links", "unfurl_media", "mrkdwn", "link_names")


def decode_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """Turn form fields into typed arguments, as Slack does: JSON text for structures, 1/0 or true/false for flags."""
    arguments: dict[str, Any] = dict(fields)
    for name in ("blocks", "attachments", "metadata"):
        if name in arguments:
            try:
                arguments[name] = json.loads(arguments[name])
            except ValueError:
                arguments[name] = None
    for name in FLAGS:
        if name in arguments:
            arguments[name] = arguments[name] in {"1", "true"}
    return arguments


def message_error(arguments: Mapping[str, Any]) -> str | None:
    """The error string Slack answers for these arguments, or None if it takes them."""
    if not isinstance(arguments.get("channel"), str) or not arguments["channel"]:
        return "channel_not_found" if "channel" in arguments else "invalid_arguments"
    if not isinstance(arguments.get("text", ""), str) or not isinstance(arguments.get("thread_ts", ""), str):
        return "invalid_arguments"
    return _content_error(arguments) or _metadata_error(arguments.get("metadata"))


def _content_error(arguments: Mapping[str, Any]) -> str | None:
    text, markdown, blocks = arguments.get("text"), arguments.get("markdown_text"), arguments.get("blocks")
    if markdown is not None:
        if text or blocks:
            return "markdown_text_conflict"
        return "msg_too_long" if len(str(markdown)) > MARKDOWN_MAX else None
    if "blocks" in arguments and blocks is None:
        return "invalid_blocks_format"
    if not text and not blocks and not arguments.get("attachments"):
        return "no_text"
    return _blocks_error(blocks) if blocks else None


def _blocks_error(blocks: Any) -> str | None:
    if not isinstance(blocks, Sequence) or isinstance(blocks, str):
        return "invalid_blocks_format"
    if len(blocks) > BLOCKS_MAX:
        return "invalid_blocks"
    if any(not _block_fits(block) for block in blocks):
        return "invalid_blocks"
    return "msg_blocks_too_long" if sum(len(text) for text in _texts(blocks)) > BLOCKS_TEXT_MAX else None


def _block_fits(block: Any) -> bool:
    if not isinstance(block, Mapping) or block.get("type") not in BLOCK_TYPES:
        return False
    limit = {"section": SECTION_TEXT_MAX, "header": HEADER_TEXT_MAX}.get(block["type"])
    if limit is None:
        return True
    body = block.get("text")
    if block["type"] == "section" and body is None:
        return bool(block.get("fields"))
    return isinstance(body, Mapping) and 0 < len(str(body.get("text", ""))) <= limit


def _texts(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        own = [node["text"]] if isinstance(node.get("text"), str) else []
        return own + [text for value in node.values() for text in _texts(value)]
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [text for value in node for text in _texts(value)]
    return []


def _metadata_error(metadata: Any) -> str | None:
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        return "invalid_metadata_format"
    typed = isinstance(metadata.get("event_type"), str) and isinstance(metadata.get("event_payload"), Mapping)
    return None if typed and metadata["event_type"] else "invalid_metadata_schema"


def shown(text: str) -> str:
    """The text as a person reads it in Slack: the three escaped characters are shown as themselves."""
    return html.unescape(text.replace("&#", "&amp;#"))
