"""Structured logs: JSON lines for machines, a readable form on a terminal, and no secret in either.

Everything is written to standard error. The standard library's loggers (gRPC, aiohttp, asyncio) go through the same
processors, so redaction cannot be bypassed by a library that logs for itself.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog

REDACTED = "[redacted]"
MAX_DEPTH = 6

_TOKEN = re.compile(r"aisops_(enr|run|api|ses)_([A-Za-z0-9]{1,32})_[A-Za-z0-9_-]+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_USERINFO = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_SECRET_KEY = re.compile(
    r"(?i)(password|passwd|secret|authorization|cookie|private_?key|api_?key|credential)|(^|_)token$"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Event = MutableMapping[str, Any]


def redact_text(text: str) -> str:
    """Return `text` without our tokens (their public id stays), authorization values and passwords in URLs."""
    text = _TOKEN.sub(rf"aisops_\1_\2_{REDACTED}", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    return _USERINFO.sub(REDACTED, text)


def redact_value(value: Any, depth: int = 0) -> Any:
    """Return `value` with every text in it redacted and every value under a secret's key name replaced."""
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth >= MAX_DEPTH:
        return "[too deep]"
    if isinstance(value, Mapping):
        return {
            str(key): REDACTED if _SECRET_KEY.search(str(key)) else redact_value(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (bytes, bytearray)):
        return redact_text(bytes(value[:256]).decode(errors="replace"))
    if isinstance(value, Iterable):
        return [redact_value(item, depth + 1) for item in value]
    return redact_text(repr(value))


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Processor: apply `redact_value` to the whole event."""
    clean: dict[str, Any] = redact_value(event)
    return clean


def escape_controls(_logger: object, _method: str, event: Event) -> Event:
    r"""Processor for people's form: a line break in a value becomes `\n`, so that no value can forge a line.

    A traceback keeps its lines; it is ours, not a caller's.
    """

    def escape(value: Any) -> Any:
        return _CONTROL.sub(lambda found: repr(found.group())[1:-1], value) if isinstance(value, str) else value

    return {key: value if key == "exception" else escape(value) for key, value in event.items()}


def _drop_color_message(_logger: object, _method: str, event: Event) -> Event:
    event.pop("color_message", None)
    return event


def _renderers(style: str, stream: TextIO) -> list[Callable[..., Any]]:
    if style == "console" or (style == "auto" and stream.isatty()):
        console = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        return [structlog.processors.format_exc_info, redact, escape_controls, console]
    return [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(),
    ]


def configure(style: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error) as `json`, `console` or by `auto` detection."""
    out = stream or sys.stderr
    shared: list[Callable[..., Any]] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _drop_color_message,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(style, out)],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("alembic", "sqlalchemy", "asyncio", "aiohttp.server"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
