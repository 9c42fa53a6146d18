"""Requests that come from a provider: what a plugin's webhook gets, and what it answers. Pure.

A webhook is a public route. Its handler says what Core is to be told (`Inbound`), and the provider is answered only
after the Runner has that on its disk; or it answers at once (`WebhookReply`), when nothing is to be told.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aisops_plugin_sdk.errors import DefinitionError, InvalidRequest

FEATURE = "inbound"
"""Named among a manifest's features by a sidecar that serves webhooks and POST /v1/inbound."""
LISTEN_ENV = "AISOPS_INBOUND"
"""`host:port` of a listener that serves the webhooks and nothing else."""
KEY_BYTES = 255
_PATH = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}", re.ASCII)
_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_TAKEN = re.compile(r"/(?:probe|healthz|readyz|describe|send|v1(?:/.*)?|kakao/alimtalk/send)", re.ASCII)


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One request of a provider, as it came.

    Attributes:
        method: in upper case.
        path: the path, percent-encoded as sent.
        query: the text after `?`, or empty.
        headers: names in lower case; of a repeated one the last value.
        body: the raw bytes, over which signatures are made.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Read the body as JSON.

        Raises:
            InvalidRequest: it is none.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise InvalidRequest("invalid payload") from None

    def form(self) -> dict[str, str]:
        """Read the body as an urlencoded form; of a repeated field the last value.

        Raises:
            InvalidRequest: it is no such text.
        """
        try:
            return dict(parse_qsl(self.body.decode(), keep_blank_values=True, max_num_fields=64))
        except ValueError:
            raise InvalidRequest("invalid payload") from None


@dataclass(frozen=True, slots=True)
class WebhookReply:
    """What the provider is answered."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Inbound:
    """What Core is to be told of a request.

    Attributes:
        kind: `<plugin>.<word>`, as with `ctx.emit`.
        facts: a JSON object of at most 16 KiB.
        key: the provider's own id of what happened: the same key twice is one event, whenever it comes. Visible ASCII.
        reply: what the provider is answered once the Runner has stored the event.
    """

    kind: str
    facts: Mapping[str, Any]
    key: str
    reply: WebhookReply = WebhookReply()


Verify = Callable[[Any, WebhookRequest], None]
"""Raises `Unauthorized` for a request that the provider did not make; gets the context and the request."""
Handler = Callable[[Any, WebhookRequest], Any]


@dataclass(frozen=True, slots=True)
class Webhook:
    """A registered webhook."""

    path: str
    verify: Verify
    handler: Handler


def check_path(path: str) -> None:
    """Refuse a path that cannot be a webhook's.

    Raises:
        DefinitionError: it is no plain path, or one of the sidecar's own.
    """
    if not _PATH.fullmatch(path) or "/." in path:
        raise DefinitionError(f"webhook {path!r}: the path must read /word/word, of letters, digits and . _ ~ -")
    if _TAKEN.fullmatch(path):
        raise DefinitionError(f"webhook {path!r}: the path is one of the sidecar's own")


def check_key(key: object) -> str:
    """Return the key of an event when it is one.

    Raises:
        ValueError: it is empty, too long or not visible ASCII.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(f"an event's key must be 1 to {KEY_BYTES} characters of visible ASCII")
    return key
