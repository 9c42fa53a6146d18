"""Structured logs on stderr, with secrets taken out before anything is written.

Three nets, because each has holes: values under a telling key, anything that looks like one of our tokens, and every
registered secret value wherever it appears (also percent-encoded, JSON-escaped or base64).
"""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor

REDACTED = "[redacted]"
SHORTEST_SECRET = 6  # shorter values occur in ordinary text by chance and would shred it
MAX_DEPTH = 6

_KEY = re.compile(
    r"(?:^|[_-])(?:token|secret|passw(?:or)?d|passphrase|authorization|cookie|signature|api[_-]?key|private[_-]?key)s?$",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"aisops_[a-z]+_[A-Za-z0-9._-]{8,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")


class Redactor:
    """Takes secrets out of texts and of nested values. Registering is cheap; the pattern is rebuilt on next use."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def register(self, value: str) -> None:
        """Remember a secret so that it never reaches a log; values under six characters are not remembered."""
        value = value.strip()
        if len(value) < SHORTEST_SECRET or value in self._values:
            return
        coded = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode().rstrip("=")
        quoted = quote(value, safe="", errors="surrogateescape")
        self._values |= {value, quoted, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], coded}
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """The text without anything known or shaped like a secret."""
        if self._pattern is not None:
            text = self._pattern.sub(REDACTED, text)
        if "aisops_" in text:
            text = _TOKEN.sub(REDACTED, text)
        return _BEARER.sub(rf"\1 {REDACTED}", text)

    def value(self, value: Any, *, depth: int = 0) -> Any:
        """The value with every text in it cleaned and every value under a telling key replaced."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (bool, int, float, type(None))):
            return value
        if depth >= MAX_DEPTH:
            return "…"
        if isinstance(value, Mapping):
            return {
                str(key): REDACTED if _KEY.search(str(key)) else self.value(item, depth=depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(item, depth=depth + 1) for item in value]
        return self.text(repr(value))

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        """A structlog processor."""
        internal = {key: event.pop(key) for key in ("_record", "_from_structlog") if key in event}
        return {**self.value(event), **internal}

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"


def configure_logs(
    redactor: Redactor,
    *,
    log_format: Literal["auto", "json", "console"] = "auto",
    level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Send structlog and the standard library's logging through one redacted pipe.

    Args:
        redactor: Applied to every line, exceptions included.
        log_format: `auto`: console on a terminal, JSON elsewhere.
        level: Lowest level written.
        stream: Where to; standard error when None.
    """
    out = stream or sys.stderr
    as_json = log_format == "json" or (log_format == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redactor,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:-1],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared[:-1]],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redactor, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
