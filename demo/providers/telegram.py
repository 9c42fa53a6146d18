"""A stand-in of Telegram's Bot API: sendMessage and getMe, with the Bot API's own answers."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from demo.providers.faults import Fault, FaultKind
from demo.providers.telegram_text import TEXT_MAX_UTF16, EntityError, plain_text, utf16_length
from demo.providers.web import WebStandIn

FIELDS: dict[str, tuple[type, ...]] = {
    "business_connection_id": (str,), "chat_id": (int, str), "message_thread_id": (int,),
    "direct_messages_topic_id": (int,), "text": (str,), "parse_mode": (str,), "entities": (list,),
    "link_preview_options": (dict,), "disable_notification": (bool,), "protect_content": (bool,),
    "allow_paid_broadcast": (bool,), "message_effect_id": (str,), "suggested_post_parameters": (dict,),
    "reply_parameters": (dict,), "reply_markup": (dict,),
}  # fmt: skip
"""sendMessage's documented fields and their JSON types."""

BOT = {"id": 1_000_000_001, "is_bot": True, "first_name": "AIsOps demo", "username": "aisops_demo_bot"}
DEFAULT_CHAT = -1_001_000_000_001


@dataclass(frozen=True, slots=True)
class TelegramMessage:
    """One accepted message.

    Attributes:
        message_id: id within the chat.
        to: id of the chat, as text.
        text: the text as a person reads it, markup removed.
        fields: every field as it came.
        unknown: names of fields that the Bot API does not document (and ignores).
    """

    message_id: str
    to: str
    text: str
    fields: dict[str, Any]
    unknown: tuple[str, ...]
    received_unix_s: float


@dataclass(slots=True)
class TelegramChats:
    """What exists: chats by id or @name, upgraded groups with their new id, chats that blocked the bot, topics."""

    known: dict[int | str, int] = field(default_factory=lambda: {DEFAULT_CHAT: DEFAULT_CHAT, "@ops": DEFAULT_CHAT})
    migrated: dict[int, int] = field(default_factory=dict)
    blocked: set[int] = field(default_factory=set)
    topics: dict[int, set[int]] = field(default_factory=dict)


class _RefusalError(Exception):
    """The call is refused; carries the Bot API's error code, description and parameters."""

    def __init__(self, error_code: int, description: str, parameters: Mapping[str, int] | None = None) -> None:
        super().__init__(description)
        self.error_code = error_code
        self.description = description
        self.parameters = parameters


class TelegramStandIn(WebStandIn[TelegramMessage]):
    """The Bot API server on loopback."""

    def __init__(self, chats: TelegramChats | None = None) -> None:
        super().__init__()
        self.token = f"1000000001:demo_{secrets.token_hex(15)}"
        self.chats = chats or TelegramChats()
        self._counter = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        """Token and method are both in the path, as at Telegram."""
        path = "/bot{token}/{method}"
        return [web.post(path, self._call), web.get(path, self._call)]

    async def _call(self, request: web.Request) -> web.StreamResponse:
        try:
            self._authenticate(request.match_info["token"])
            match request.match_info["method"].lower():
                case "sendmessage":
                    return await self._send_message(request)
                case "getme":
                    return web.json_response({"ok": True, "result": BOT})
                case _:
                    raise _RefusalError(404, "Not Found: method not found")
        except _RefusalError as refused:
            return _refusal(refused)

    def _authenticate(self, token: str) -> None:
        bot, colon, secret = token.partition(":")
        if not colon or not bot.isdigit() or not secret:
            raise _RefusalError(404, "Not Found")
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            raise _RefusalError(401, "Unauthorized")

    async def _send_message(self, request: web.Request) -> web.StreamResponse:
        fault = self.take_fault()
        _raise_scripted(fault)
        await self.interrupt(request, fault, accepted=False)
        fields = await _fields(request)
        chat = self._chat(fields.get("chat_id"))
        text = _text(fields)
        self._check_topic(chat, fields.get("message_thread_id"))
        message = self._accept_message(chat, text, fields)
        await self.interrupt(request, fault, accepted=True)
        return web.json_response({"ok": True, "result": message})

    def _chat(self, chat_id: object) -> int:
        if chat_id is None or chat_id == "":
            raise _RefusalError(400, "Bad Request: chat_id is empty")
        key: int | str = int(chat_id) if isinstance(chat_id, str) and chat_id.lstrip("-").isdigit() else str(chat_id)
        if isinstance(chat_id, int):
            key = chat_id
        if isinstance(key, int) and key in self.chats.migrated:
            raise _RefusalError(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                {"migrate_to_chat_id": self.chats.migrated[key]},
            )
        chat = self.chats.known.get(key)
        if chat is None:
            raise _RefusalError(400, "Bad Request: chat not found")
        if chat in self.chats.blocked:
            raise _RefusalError(403, "Forbidden: bot was blocked by the user")
        return chat

    def _check_topic(self, chat: int, topic: object) -> None:
        if topic is not None and topic not in self.chats.topics.get(chat, set()):
            raise _RefusalError(400, "Bad Request: message thread not found")

    def _accept_message(self, chat: int, text: str, fields: dict[str, Any]) -> dict[str, Any]:
        now = time.time()
        number = next(self._counter)
        kind = "supergroup" if chat < 0 else "private"
        message: dict[str, Any] = {
            "message_id": number, "from": BOT, "chat": {"id": chat, "type": kind}, "date": int(now), "text": text,
        }  # fmt: skip
        if "message_thread_id" in fields:
            message |= {"message_thread_id": fields["message_thread_id"], "is_topic_message": True}
        unknown = tuple(sorted(set(fields) - set(FIELDS)))
        self.accept(TelegramMessage(str(number), str(chat), text, fields, unknown, now))
        return message


async def _fields(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        try:
            document = await request.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise _RefusalError(400, "Bad Request: can't parse JSON object")
        fields = document
    else:
        form = await request.post()
        fields = {**request.query, **{name: _typed(name, str(value)) for name, value in form.items()}}
    for name, value in fields.items():
        if name in FIELDS and (not isinstance(value, FIELDS[name]) or _is_wrong_bool(name, value)):
            raise _RefusalError(400, f'Bad Request: field "{name}" must be of type {FIELDS[name][0].__name__}')
    return fields


def _is_wrong_bool(name: str, value: object) -> bool:
    return isinstance(value, bool) and bool not in FIELDS[name]


def _typed(name: str, value: str) -> Any:
    """Form values are text; the Bot API reads numbers, flags and objects from their JSON form."""
    if str in FIELDS.get(name, (str,)):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _text(fields: Mapping[str, Any]) -> str:
    try:
        text = plain_text(fields.get("text", ""), fields.get("parse_mode"))
    except EntityError as error:
        raise _RefusalError(400, str(error)) from None
    if not text.strip():
        raise _RefusalError(400, "Bad Request: message text is empty")
    if utf16_length(text) > TEXT_MAX_UTF16:
        raise _RefusalError(400, "Bad Request: message is too long")
    return text


def _raise_scripted(fault: Fault | None) -> None:
    if fault is None:
        return
    match fault.kind:
        case FaultKind.RATE_LIMIT:
            seconds = fault.retry_after_s
            raise _RefusalError(429, f"Too Many Requests: retry after {seconds}", {"retry_after": seconds})
        case FaultKind.SERVER_ERROR:
            raise _RefusalError(fault.status, "Internal Server Error")
        case FaultKind.REFUSE:
            raise _RefusalError(fault.status, fault.code)
        case _:
            return


def _refusal(refused: _RefusalError) -> web.Response:
    document: dict[str, Any] = {"ok": False, "error_code": refused.error_code, "description": refused.description}
    headers = {}
    if refused.parameters:
        document["parameters"] = dict(refused.parameters)
        if "retry_after" in refused.parameters:
            headers["Retry-After"] = str(refused.parameters["retry_after"])
    return web.json_response(document, status=refused.error_code, headers=headers)
