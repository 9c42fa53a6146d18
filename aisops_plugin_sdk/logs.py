"""Log records of a sidecar and the logger a capability gets. Pure: records go to a sink that somebody passes in."""

import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from aisops_plugin_sdk.secret import Redactor

Level = Literal["debug", "info", "warning", "error"]
TEXT_LIMIT_BYTES = 16 * 1024
FIELD_LIMIT_BYTES = 512
MAX_FIELDS = 16
_CONTROLS = {code: "?" for code in range(32) if code not in (9, 10)}
current_job: ContextVar[str] = ContextVar("aisops_current_job", default="")


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line to be logged. `progress` is a fraction from 0 to 1 where the line reports progress."""

    level: Level
    message: str
    job_id: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    progress: float | None = None


LogSink = Callable[[LogRecord], None]


def to_document(record: LogRecord, *, time_ms: int, redactor: Redactor) -> dict[str, Any]:
    """Render a record as the contract's log line, redacted and cut to its limits. `time_ms` is unix milliseconds."""
    document: dict[str, Any] = {
        "log": 1,
        "level": record.level,
        "message": cut(redactor.text(record.message), TEXT_LIMIT_BYTES),
        "job_id": record.job_id,
        "time_ms": time_ms,
    }
    if record.progress is not None:
        document["progress"] = min(max(record.progress, 0.0), 1.0)
    if record.fields:
        document["fields"] = {
            cut(name, 64): cut(redactor.text(_plain(value)), FIELD_LIMIT_BYTES)
            for name, value in list(record.fields.items())[:MAX_FIELDS]
        }
    return document


def cut(text: str, limit_bytes: int) -> str:
    """Cut a text so that its UTF-8 has at most so many bytes.

    What UTF-8 cannot carry becomes a question mark, and so do control characters but tab and line feed: JSON writes
    them in six bytes each, which would break the length of a line.
    """
    raw = text.translate(_CONTROLS).encode("utf-8", "replace")
    return raw[:limit_bytes].decode("utf-8", "ignore") if len(raw) > limit_bytes else raw.decode()


def _plain(value: object) -> str:
    """Render a field's value as text."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


class JobLogger:
    """Logs lines that carry the job they belong to. Keyword arguments become the line's fields."""

    def __init__(self, sink: LogSink, job_id: str = "") -> None:
        self._sink = sink
        self._job_id = job_id

    def debug(self, message: str, **fields: Any) -> None:
        """Log what only a developer of the plugin needs."""
        self._sink(LogRecord("debug", message, self._job_id, fields))

    def info(self, message: str, **fields: Any) -> None:
        """Log what an operator may want to see."""
        self._sink(LogRecord("info", message, self._job_id, fields))

    def warning(self, message: str, **fields: Any) -> None:
        """Log what an operator should look at."""
        self._sink(LogRecord("warning", message, self._job_id, fields))

    def error(self, message: str, **fields: Any) -> None:
        """Log a failure."""
        self._sink(LogRecord("error", message, self._job_id, fields))
