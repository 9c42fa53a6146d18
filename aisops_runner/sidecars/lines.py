"""What a sidecar's standard output means: the ready line, then log lines and events. Pure: bytes in, values out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

from aisops_plugin_sdk import events, json_strict
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_protocol.limits import LOG_TEXT_BYTES
from aisops_protocol.messages import LogLevel
from aisops_runner.adapters.calls import JobLog

LINE_BYTES = 64 * 1024
CONTRACTS = (1,)
"""Majors of the sidecar contract that this Runner serves, newest last."""

_LEVELS = {
    "debug": LogLevel.DEBUG,
    "info": LogLevel.INFO,
    "warning": LogLevel.WARNING,
    "error": LogLevel.ERROR,
}


@dataclass(frozen=True, slots=True)
class Ready:
    """The ready line: where the sidecar listens and which contract majors it serves."""

    port: int
    pid: int
    contract: tuple[int, ...]


def parse_ready(line: bytes) -> Ready | None:
    """Read a line as the ready line, or None when it is something else."""
    document = _object(line)
    if document is None or document.get("aisops") != 1 or document.get("ready") is not True:
        return None
    port, pid, contract = document.get("port"), document.get("pid"), document.get("contract")
    if not _is_int(port) or not 1 <= port <= 65535 or not _is_int(pid) or not isinstance(contract, list):
        return None
    return Ready(port, pid, tuple(item for item in contract if _is_int(item)))


def parse_refusal(line: bytes) -> str:
    """Why a sidecar says it will not start (`{"ok":false,"error":…}` instead of the ready line); empty: it does not."""
    document = _object(line)
    return str(document.get("error") or "") if document is not None and document.get("ok") is False else ""


def common_contract(offered: tuple[int, ...]) -> int | None:
    """The highest contract major both sides serve, or None."""
    return max((major for major in offered if major in CONTRACTS), default=None)


def parse_log(line: bytes, *, source: str, now_unix_ms: int, stderr: bool, redact: Callable[[str], str]) -> JobLog:
    """Read a line as a log line of the contract; any other text becomes a line of the plugin itself.

    Args:
        line: One line, without its end.
        source: The plugin's name.
        now_unix_ms: Time for lines that carry none.
        stderr: Text on standard error counts as a warning, other text as information.
        redact: Takes secrets out; applied to what is kept.
    """
    document = _object(line) if line.startswith(b"{") else None
    if document is not None and document.get("log") == 1:
        return JobLog(
            job_id=_job_id(document),
            level=_LEVELS.get(str(document.get("level")), LogLevel.INFO),
            text=_cut(redact(str(document.get("message", "")))),
            time_unix_ms=_time_ms(document, now_unix_ms),
            source=source,
        )
    text = "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in line.decode("utf-8", "replace"))
    level = LogLevel.WARNING if stderr else LogLevel.INFO
    return JobLog("", level, _cut(redact(text)), now_unix_ms, source)


@dataclass(frozen=True, slots=True)
class PluginEvent:
    """An event of a plugin: its kind, and what Core is told."""

    kind: str
    data: dict[str, Any]
    time_unix_ms: int


def is_event(line: bytes) -> bool:
    """Whether a line says that it is an event."""
    return line.startswith(events.LINE_START)


def parse_event(line: bytes, *, plugin: str, now_unix_ms: int, redact: Callable[[str], str]) -> PluginEvent | str:
    """Read an event line, or say what is wrong with it.

    Args:
        line: One line, without its end.
        plugin: Whose it is: the plugin's own name begins its kind.
        now_unix_ms: Time for lines that carry none.
        redact: Takes secrets out.
    """
    document = _object(line)
    if document is None:
        return "an event that is not acceptable JSON was dropped"
    kind, facts = document.get("kind"), document.get("facts")
    if not isinstance(kind, str) or not events.belongs(kind, plugin):
        return f"an event was dropped: its kind must read {plugin}.<word>"
    if not isinstance(facts, dict):
        return f"an event was dropped: the facts of {kind} are no JSON object"
    try:
        event = events.build_event(
            plugin,
            kind,
            facts,
            job_id=_job_id(document),
            time_ms=_time_ms(document, now_unix_ms),
            redact=redact,
        )
    except ValueError as error:
        return f"an event was dropped: {error}"
    return PluginEvent(kind, {"plugin": plugin, "job_id": event.job_id, "facts": event.facts}, event.time_ms)


def _job_id(document: dict[str, Any]) -> str:
    job_id = document.get("job_id")
    return job_id if isinstance(job_id, str) and len(job_id) <= 128 else ""


def _time_ms(document: dict[str, Any], now_unix_ms: int) -> int:
    at = document.get("time_ms")
    return at if _is_int(at) and 0 <= at < 1 << 53 else now_unix_ms


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        document = json_strict.loads(line, limit_bytes=LINE_BYTES)
    except (JsonRefused, JsonTooLarge):
        return None
    return document if isinstance(document, dict) else None


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _cut(text: str) -> str:
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= LOG_TEXT_BYTES else raw[: LOG_TEXT_BYTES - 3].decode("utf-8", "ignore") + "…"
