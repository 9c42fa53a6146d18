"""Which HTTP route of an original plugin serves a capability, and what its body looks like there. Pure.

The original has no route that takes a capability's name: each plugin has paths of its own, and each channel its own
words for the address (`target`, `to`, `chat_id`). The tables here are its public contract (Plugin API v1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge

INPUT_BYTES: Final = 1024 * 1024
SUBJECT: Final = "Notification"
FIRST_RELEASE: Final[Mapping[str, str]] = {
    "send.slack": "slack.send",
    "approval.slack": "slack.approval",
    "send.email": "email.send",
    "send.telegram": "telegram.send",
}
"""Spelling of the first release → today's."""
_FIXED: Final[Mapping[str, str]] = {
    "slack.send": "/send",
    "slack.approval": "/send",
    "email.send": "/send",
    "telegram.send": "/send",
    "kakao.alimtalk.send": "/kakao/alimtalk/send",
    "kakao.delivery.simulate": "/simulate",
    "db.read": "/query/read",
    "db.explain": "/query/explain",
    "gmail.send": "/gmail/messages/send",
    "microsoft.mail.send": "/mail/messages/send",
}
_ALIMTALK: Final = "kakao.alimtalk.send"
_READS: Final[Mapping[str, str]] = {"gmail.read": "/gmail/messages", "microsoft.mail.read": "/mail/messages"}
"""Two routes each: `/get` for an input that names a message, `/list` for any other."""
_CHANNEL: Final = re.compile(r"[a-z][a-z0-9_]*\.send")
_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,255}", re.ASCII)
KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "slack": ("slack.send", "slack.approval"),
    "email": ("email.send",),
    "telegram": ("telegram.send",),
    "kakao": ("kakao.alimtalk.send",),
    "gmail": ("gmail.read", "gmail.send"),
    "microsoft-email": ("microsoft.mail.read", "microsoft.mail.send"),
}
"""What the original's own plugins offer, by the name in `PLUGIN_<NAME>_URL`: for while one cannot be asked."""


def today(name: str) -> str:
    """Today's spelling of a capability."""
    return FIRST_RELEASE.get(name, name)


def spellings(name: str) -> tuple[str, ...]:
    """Both spellings of a capability, today's first; one where there is no other."""
    current = today(name)
    return (current, *(old for old, new in FIRST_RELEASE.items() if new == current))


def is_path(text: str) -> bool:
    """Whether a text can be the path of a route: from the root, without query, and nothing that leads upwards."""
    return _PATH.fullmatch(text) is not None and ".." not in text.split("/")


def has_route(capability: str, routes: Mapping[str, str]) -> bool:
    """Whether calls of a capability can be made over HTTP."""
    name = today(capability)
    return capability in routes or name in routes or name in _FIXED or name in _READS or bool(_CHANNEL.fullmatch(name))


def request(capability: str, body: bytes, routes: Mapping[str, str]) -> tuple[str, bytes]:
    """The path and the body of a call.

    Args:
        capability: Its name, in either spelling; `has_route` is true of it.
        body: The input as JSON.
        routes: Capability → path, the operator's own.
    """
    name = today(capability)
    own = routes.get(capability) or routes.get(name)
    if own is not None:
        return own, body
    if name in _READS:
        document = _object(body)
        return f"{_READS[name]}/{'get' if document and 'message_id' in document else 'list'}", body
    return _FIXED.get(name, "/send"), channel_body(name, body)


def channel_body(capability: str, body: bytes) -> bytes:
    """A channel's body in its own words: `{target, text}` is what workflows write for every channel.

    Whatever has the channel's own words already, or is no JSON object, is left as it is.
    """
    own = {"email.send": "to", "telegram.send": "chat_id"}.get(capability)
    document = _object(body) if own else None
    if own is None or document is None or own in document or "target" not in document:
        return body
    worded = {own: document.pop("target"), **document}
    if own == "to":
        worded.setdefault("subject", SUBJECT)
    return json.dumps(worded, ensure_ascii=False, separators=(",", ":")).encode()


def missing(capability: str, body: bytes) -> str:
    """What an input lacks that its plugin would answer with a 500, like a failure halfway; empty: nothing.

    The original's Kakao provider does that. What it says clearly itself (a 4xx) is left to it.
    """
    if today(capability) != _ALIMTALK:
        return ""
    document = _object(body)
    if document is None:
        return "the input is no JSON object"
    for name in ("tenant_id", "template_id"):
        value = document.get(name)
        if not isinstance(value, str) or not value.strip():
            return f"{name} is missing, or no text"
    to = document.get("to")
    if not isinstance(to, list) or not any(isinstance(one, str) and one.strip() for one in to):
        return "to is not a list of at least one telephone number"
    return ""


def several(capability: str, body: bytes) -> bool:
    """Whether a call has several effects, of which some may have happened when it fails."""
    if today(capability) != _ALIMTALK:
        return False
    document = _object(body)
    to = document.get("to") if document is not None else None
    return isinstance(to, list) and len(to) > 1


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json_strict.loads(body, limit_bytes=INPUT_BYTES)
    except (JsonRefused, JsonTooLarge):
        return None
    return document if isinstance(document, dict) else None
