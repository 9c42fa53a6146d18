"""Reads YAML that strangers wrote, as texts, lists and maps. Pure: bytes in, values out.

Only the parser of PyYAML is used, event by event: nothing is resolved, constructed or expanded, so that no text becomes
a date, an object or a billion laughs. Anchors, aliases, tags, further documents, keys that are no text or appear twice,
and whatever is too large or too deep are refused. A plain `null`, `~` or nothing is None; every other scalar is its
text, and what it means is for the reader's schema to say: `0.10` stays `0.10`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

LIMIT_BYTES = 64 * 1024
MAX_DEPTH = 16
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_KEY_CHARS = 64

Path = tuple[str | int, ...]


class YamlRefused(Exception):
    """The text is not YAML, or holds what is refused here.

    Attributes:
        line: Where, from 1; 0: the whole.
    """

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Yaml:
    """A document: its content, and the line on which each place of it begins."""

    content: Any
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of a place, or of the nearest place around it that there is; from 1."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


@dataclass(slots=True)
class _Frame:
    """One list or map under construction."""

    value: list[Any] | dict[str, Any]
    path: Path
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Puts the values together as the events come."""

    frames: list[_Frame] = field(default_factory=list)
    lines: dict[Path, int] = field(default_factory=dict)
    content: Any = None
    documents: int = 0

    def take(self, event: yaml.Event) -> None:
        """Take one event.

        Raises:
            YamlRefused: It is one of those that are refused.
        """
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise YamlRefused("a second document begins; only one is read", line)
        elif isinstance(event, yaml.AliasEvent):
            raise YamlRefused("an alias (*) stands here; write the value out", line)
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, line)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self.frames.pop()

    def _node(self, event: yaml.NodeEvent, line: int) -> None:
        if event.anchor is not None:
            raise YamlRefused("an anchor (&) stands here; write the value out where it is needed", line)
        if getattr(event, "tag", None) is not None:
            raise YamlRefused("a tag (!) stands here; plain values only", line)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
            return
        if len(self.frames) == MAX_DEPTH:
            raise YamlRefused(f"nested deeper than {MAX_DEPTH} levels", line)
        value: list[Any] | dict[str, Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.frames.append(_Frame(value, self._put(value, line)))

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        text = event.value
        if not _is_text(text):
            raise YamlRefused("a text holds half of a surrogate pair", line)
        frame = self.frames[-1] if self.frames else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            if text in frame.value:
                raise YamlRefused(f"key {text[:_KEY_CHARS]!r} appears twice", line)
            frame.key = text
            return
        plain = event.implicit[0]
        self._put(None if plain and text in _NULLS else text, line)

    def _put(self, value: Any, line: int) -> Path:
        """Put a value where it belongs; its place."""
        path: Path = ()
        if not self.frames:
            self.content = value
        else:
            frame = self.frames[-1]
            if isinstance(frame.value, list):
                path = (*frame.path, len(frame.value))
                frame.value.append(value)
            elif frame.key is None:
                raise YamlRefused("a key is a list or a map; only texts are keys", line)
            else:
                path = (*frame.path, frame.key)
                frame.value[frame.key], frame.key = value, None
        self.lines[path] = line
        return path


def load(raw: bytes, *, limit_bytes: int = LIMIT_BYTES) -> Yaml:
    """Read one YAML document.

    Args:
        raw: UTF-8, with or without a byte order mark.
        limit_bytes: The largest accepted size.

    Raises:
        YamlRefused: It is not acceptable; says why and where.
    """
    if len(raw) > limit_bytes:
        raise YamlRefused(f"larger than {limit_bytes} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlRefused("not UTF-8 text", raw[: error.start].count(b"\n") + 1) from None
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _refusal(error) from None
    except (ValueError, OverflowError):  # a character or number that the parser cannot make
        raise YamlRefused("not YAML: a character or a number that does not exist") from None
    if not builder.documents:
        raise YamlRefused("empty")
    return Yaml(builder.content, builder.lines)


def _refusal(error: yaml.YAMLError) -> YamlRefused:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    return YamlRefused(f"not YAML: {problem}", mark.line + 1 if mark is not None else 0)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
