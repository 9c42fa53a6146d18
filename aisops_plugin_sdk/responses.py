"""What a provider answered, and what its status means for the caller. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

from aisops_plugin_sdk.errors import (
    Ambiguous,
    Conflict,
    Permanent,
    PluginError,
    ProviderError,
    RateLimited,
    Transient,
    Unauthorized,
)

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_UNAVAILABLE = frozenset({408, 425, 503})


@dataclass(frozen=True, slots=True)
class Response:
    """One complete answer.

    Attributes:
        status: the HTTP status.
        headers: names in lower case; of a repeated one the last value.
        body: the raw bytes, already decompressed.
        provider: who answered, for the texts of errors.
        harmless: the request changed nothing, so that it may be repeated whatever came of it.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    provider: str = "the provider"
    harmless: bool = False

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none becomes a replacement character."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Read the body as JSON.

        Raises:
            Ambiguous: it is none, so somebody else answered, and what became of the request is unknown.
            Transient: the same after a harmless request.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            text = f"the answer of {self.provider} is not JSON"
            raise self._unknown(text, "unreadable_answer") from None

    @property
    def retry_after_s(self) -> float | None:
        """The Retry-After header in seconds from now; None without a usable one."""
        value = self.headers.get("retry-after", "")
        if _SECONDS.fullmatch(value):
            return float(value)
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        known = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return max(0.0, (known - datetime.now(UTC)).total_seconds())

    def raise_for_status(self) -> Self:
        """Return the answer itself when it is `ok`, and raise what its status usually means otherwise.

        Look at `status` yourself where the provider says it otherwise.

        Raises:
            RateLimited: 429, with the provider's own wish.
            Unauthorized: 401, 403.
            Conflict: 409.
            Transient: 408, 425, 503, and any other 5xx after a harmless request.
            Ambiguous: any other 5xx: a gateway lost its backend, or the work was half done.
            Permanent: any other 4xx.
            ProviderError: anything else.
        """
        if not self.ok:
            raise self._meaning()
        return self

    def _meaning(self) -> PluginError:
        text, code = f"{self.provider} answered {self.status}", f"http_{self.status}"
        if self.status == 429:
            return RateLimited(f"{self.provider} limits the rate", retry_after_s=self.retry_after_s)
        if self.status in {401, 403}:
            return Unauthorized(f"{self.provider} refuses the credentials ({self.status})")
        if self.status == 409:
            return Conflict(text)
        if self.status in _UNAVAILABLE:
            return Transient(text, code=code, retry_after_s=self.retry_after_s)
        if self.status >= 500:
            return self._unknown(text, code)
        return Permanent(text, code=code) if self.status >= 400 else ProviderError(text, code=code)

    def _unknown(self, text: str, code: str) -> PluginError:
        if self.harmless:
            return Transient(text, code=code)
        return Ambiguous(f"{text}; the request may have been carried out", code=code)
