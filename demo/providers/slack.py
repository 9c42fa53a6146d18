"""A stand-in of Slack's Web API: chat.postMessage and auth.test, with Slack's own answers."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from demo.providers import slack_rules
from demo.providers.faults import Fault, FaultKind
from demo.providers.web import WebStandIn

DEFAULT_CHANNELS = {"ops": "C0000000001", "alerts": "C0000000002"}


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """One accepted message.

    Attributes:
        message_id: the message's `ts`.
        to: id of the channel.
        text: the text as a person reads it.
        raw_text: the text as it came, still escaped.
        arguments: every argument as it came.
        unknown: names of arguments that Slack does not document (and ignores).
    """

    message_id: str
    to: str
    text: str
    raw_text: str
    arguments: dict[str, Any]
    unknown: tuple[str, ...]
    received_unix_s: float


@dataclass(slots=True)
class SlackWorkspace:
    """What exists in the workspace: channels by name, channels the bot is not in, archived ones."""

    channels: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_CHANNELS))
    not_joined: set[str] = field(default_factory=set)
    archived: set[str] = field(default_factory=set)


class SlackStandIn(WebStandIn[SlackMessage]):
    """Slack's Web API on loopback; `api_url` is what the client takes as base URL."""

    def __init__(self, workspace: SlackWorkspace | None = None) -> None:
        super().__init__()
        self.token = f"demo-slack-{secrets.token_hex(16)}"
        self.workspace = workspace or SlackWorkspace()
        self._counter = itertools.count(1)

    @property
    def api_url(self) -> str:
        """Base address of the Web API, with the trailing slash that Slack's clients expect."""
        return f"{self.url}/api/"

    def routes(self) -> list[web.RouteDef]:
        """Every method name lands in one handler, as at Slack."""
        return [web.post("/api/{method}", self._call), web.get("/api/{method}", self._call)]

    async def _call(self, request: web.Request) -> web.StreamResponse:
        arguments, problem = await self._arguments(request)
        if problem is not None:
            return _refusal(problem)
        if (denied := self._denied(request, arguments)) is not None:
            return _refusal(denied)
        match request.match_info["method"]:
            case "chat.postMessage":
                return await self._post_message(request, arguments)
            case "auth.test":
                return web.json_response(self._identity())
            case method:
                return web.json_response({"ok": False, "error": "unknown_method", "req_method": method})

    async def _arguments(self, request: web.Request) -> tuple[dict[str, Any], str | None]:
        if request.content_type == "application/json":
            try:
                document = await request.json()
            except ValueError:
                return {}, "invalid_json"
            return (document, None) if isinstance(document, dict) else ({}, "json_not_object")
        if request.method == "GET":
            return slack_rules.decode_form(dict(request.query)), None
        if request.content_type not in {"application/x-www-form-urlencoded", "multipart/form-data"}:
            # A call without arguments, such as auth.test, carries no body at all.
            return ({}, None) if not request.can_read_body else ({}, "invalid_post_type")
        fields = await request.post()
        return slack_rules.decode_form({name: str(value) for name, value in fields.items()}), None

    def _denied(self, request: web.Request, arguments: Mapping[str, Any]) -> str | None:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        json_body = request.content_type == "application/json"
        token = bearer if scheme == "Bearer" else ("" if json_body else str(arguments.get("token", "")))
        if not token:
            return "not_authed"
        return None if secrets.compare_digest(token.encode(), self.token.encode()) else "invalid_auth"

    async def _post_message(self, request: web.Request, arguments: dict[str, Any]) -> web.StreamResponse:
        fault = self.take_fault()
        if fault is not None and (answer := _scripted(fault)) is not None:
            return answer
        await self.interrupt(request, fault, accepted=False)
        channel = self._channel(str(arguments.get("channel", "")))
        error = slack_rules.message_error(arguments) or self._channel_error(channel)
        if error is not None:
            return _refusal(error)
        message = self._accept_message(channel, arguments)
        await self.interrupt(request, fault, accepted=True)
        return web.json_response({"ok": True, "channel": channel, "ts": message["ts"], "message": message})

    def _channel(self, name: str) -> str:
        return self.workspace.channels.get(name.removeprefix("#"), name)

    def _channel_error(self, channel: str) -> str | None:
        if channel in self.workspace.archived:
            return "is_archived"
        if channel in self.workspace.not_joined:
            return "not_in_channel"
        return None if channel in self.workspace.channels.values() else "channel_not_found"

    def _accept_message(self, channel: str, arguments: dict[str, Any]) -> dict[str, Any]:
        now = time.time()
        ts = f"{int(now)}.{next(self._counter):06d}"
        text = str(arguments.get("text", ""))[: slack_rules.TEXT_TRUNCATED_ABOVE]
        message: dict[str, Any] = {
            "type": "message", "user": "U0000000001", "bot_id": "B0000000001", "app_id": "A0000000001",
            "team": "T0000000001", "text": text, "ts": ts,
        }  # fmt: skip
        thread_ts = arguments.get("thread_ts")
        # Slack posts a reply to a vanished parent at top level and says so only by leaving thread_ts out.
        if any(thread_ts == known.message_id for known in self.received):
            message["thread_ts"] = thread_ts
        message |= {name: arguments[name] for name in ("blocks", "metadata") if arguments.get(name)}
        shown = slack_rules.shown(text)
        unknown = tuple(sorted(set(arguments) - slack_rules.ARGUMENTS))
        self.accept(SlackMessage(ts, channel, shown, text, arguments, unknown, now))
        return message

    def _identity(self) -> dict[str, Any]:
        return {
            "ok": True, "url": f"{self.url}/", "team": "Demo", "user": "aisops", "team_id": "T0000000001",
            "user_id": "U0000000001", "bot_id": "B0000000001", "is_enterprise_install": False,
        }  # fmt: skip


def _refusal(error: str) -> web.Response:
    """Slack says no with HTTP 200."""
    document: dict[str, Any] = {"ok": False, "error": error}
    if error == "missing_scope":
        document |= {"needed": "chat:write", "provided": "identify"}
    if error == "invalid_arguments":
        document["response_metadata"] = {"messages": ["[ERROR] an argument is missing or of the wrong type"]}
    return web.json_response(document)


def _scripted(fault: Fault) -> web.Response | None:
    match fault.kind:
        case FaultKind.RATE_LIMIT:
            headers = {"Retry-After": str(fault.retry_after_s)}
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
        case FaultKind.SERVER_ERROR:
            return web.Response(
                text="<html><body>Server Error</body></html>", status=fault.status, content_type="text/html"
            )
        case FaultKind.REFUSE:
            return _refusal(fault.code)
        case _:
            return None
