"""What each refusal of the Bot API means for the caller. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aisops_plugin_sdk import (
    Ambiguous,
    InvalidRequest,
    Permanent,
    PluginError,
    ProviderError,
    RateLimited,
    Transient,
    Unauthorized,
)

DEFAULT_RETRY_AFTER_S = 30.0
_TARGET = (
    "chat not found",
    "message thread not found",
    "user not found",
    "group chat was deactivated",
    "peer_id_invalid",
)
_CONTENT = ("message is too long", "message text is empty", "text must be non-empty", "unsupported parse_mode")
_MARKUP = "can't parse entities"
_RIGHTS = ("not enough rights", "have no rights", "chat_write_forbidden")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused call, as the Bot API describes it.

    Attributes:
        status: `error_code` of the body, or the HTTP status when the body is not the Bot API's.
        description: Telegram's text; empty when the body is not the Bot API's.
        retry_after_s: seconds to wait, None when not named.
        migrate_to_chat_id: the group's new id, None when not named.
    """

    status: int
    description: str = ""
    retry_after_s: float | None = None
    migrate_to_chat_id: int | None = None

    @property
    def markup_refused(self) -> bool:
        """True if the markup could not be read; nothing was sent."""
        return self.status == 400 and _MARKUP in self.description.lower()


def read_refusal(status: int, body: Mapping[str, Any], retry_after: str | None = None) -> Refusal:
    """Read a refused answer; anything of a wrong type in it counts as absent.

    Args:
        status: the HTTP status.
        body: the JSON body, empty when it was none.
        retry_after: the Retry-After header, used when the body names no seconds.
    """
    code, description, parameters = body.get("error_code"), body.get("description"), body.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    wait, moved = parameters.get("retry_after"), parameters.get("migrate_to_chat_id")
    if not isinstance(wait, int | float) and retry_after is not None and retry_after.isdecimal():
        wait = int(retry_after)
    return Refusal(
        status=code if isinstance(code, int) else status,
        description=description if isinstance(description, str) else "",
        retry_after_s=float(wait) if isinstance(wait, int | float) else None,
        migrate_to_chat_id=moved if isinstance(moved, int) else None,
    )


def judge(refusal: Refusal) -> PluginError:
    """Say what a refusal means for the caller."""
    said = refusal.description or f"HTTP {refusal.status}"
    match refusal.status:
        case 429:
            wait = DEFAULT_RETRY_AFTER_S if refusal.retry_after_s is None else refusal.retry_after_s
            return RateLimited(f"Telegram limits the rate ({said})", retry_after_s=wait)
        case 401 | 404 | 421:
            return Unauthorized(f"Telegram refuses the bot token ({said})")
        case 403:
            return Permanent(f"the bot may not write to this chat ({said})", code="forbidden")
        case 400:
            return _bad_request(refusal)
        case 503:
            return Transient(f"Telegram is not available ({said})", code="unavailable")
        case status if status >= 500:
            return Ambiguous(f"Telegram failed while sending ({said}); the message may have been sent")
        case _:
            return ProviderError(f"Telegram refuses the message ({said})", code=f"telegram_{refusal.status}")


def _bad_request(refusal: Refusal) -> PluginError:
    said = refusal.description.lower()
    if refusal.migrate_to_chat_id is not None:
        return Permanent(f"the group moved to {refusal.migrate_to_chat_id}", code="chat_migrated")
    if any(text in said for text in _TARGET):
        return Permanent(f"Telegram does not know this target ({refusal.description})", code="target_unknown")
    if any(text in said for text in _RIGHTS):
        return Permanent(f"the bot lacks rights in this chat ({refusal.description})", code="no_rights")
    if _MARKUP in said:
        return InvalidRequest(f"Telegram cannot read the markup ({refusal.description})", code="bad_markup")
    if any(text in said for text in _CONTENT):
        return InvalidRequest(f"Telegram refuses the text ({refusal.description})", code="bad_text")
    return ProviderError(f"Telegram refuses the message ({refusal.description or 'HTTP 400'})", code="bad_request")
