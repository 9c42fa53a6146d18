"""The input of telegram.send and the fields that are sent for it. Pure."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from aisops_plugin_sdk import InvalidRequest

TEXT_MAX_UTF16 = 4096
RAW_TEXT_MAX = 16_384
"""With markup the limit counts what remains after parsing, which Telegram alone can judge."""

_NUMERIC_CHAT = re.compile(r"-?[0-9]{1,19}")


class TelegramMessage(BaseModel):
    """A message for one chat."""

    chat_id: int | Annotated[str, Field(min_length=1, max_length=64)] = Field(
        description="Id of the chat, or `@name` of a public group or channel", examples=["-1001000000001"]
    )
    text: str = Field(
        min_length=1,
        max_length=RAW_TEXT_MAX,
        description="The message; at most 4096 UTF-16 code units once markup is read (most emoji are two)",
        examples=["Disk full on db-01"],
    )
    parse_mode: Literal["HTML", "MarkdownV2"] | None = Field(
        None, description="How to read markup; by default the text is shown as it stands"
    )
    silent: bool = Field(default=False, description="Deliver without a sound")
    message_thread_id: int | None = Field(None, ge=1, description="Topic of a forum group")
    link_preview: bool = Field(default=True, description="Show a preview of the first link")

    @field_validator("chat_id", "text")
    @classmethod
    def _not_blank(cls, value: int | str) -> int | str:
        if isinstance(value, str) and not value.strip():
            raise ValueError("must not be blank")
        return value


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, in which Telegram counts; most emoji are two."""
    return len(text) + sum(character > "\uffff" for character in text)


def fields(message: TelegramMessage) -> dict[str, Any]:
    """Build the fields of sendMessage.

    Raises:
        InvalidRequest: a text without markup is over the limit.
    """
    if message.parse_mode is None and (length := utf16_length(message.text)) > TEXT_MAX_UTF16:
        raise InvalidRequest(
            f"text has {length} UTF-16 code units; Telegram takes {TEXT_MAX_UTF16}", code="message_too_long"
        )
    built: dict[str, Any] = {"chat_id": _chat(message.chat_id), "text": message.text}
    if message.parse_mode:
        built["parse_mode"] = message.parse_mode
    if message.silent:
        built["disable_notification"] = True
    if message.message_thread_id is not None:
        built["message_thread_id"] = message.message_thread_id
    if not message.link_preview:
        built["link_preview_options"] = {"is_disabled": True}
    return built


def _chat(chat_id: int | str) -> int | str:
    """A number that came as text, as `{target, text}` brings it, becomes a number."""
    return int(chat_id) if isinstance(chat_id, str) and _NUMERIC_CHAT.fullmatch(chat_id) else chat_id
