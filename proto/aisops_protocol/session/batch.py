"""Packing envelopes into frames that the peer takes: by count and by weight.

Weight is an upper bound of the octets a message needs on the wire, computed without the codec (the session knows no
protobuf): a field's tag and length, ten octets for a number, the length of a text, four times that when not ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Final, TypeVar

from aisops_protocol import limits
from aisops_protocol.messages import CoreBody, Job, RunnerBody, RunnerEnvelope

__all__ = ["batches", "envelope_weight", "weight"]

E = TypeVar("E")

_FRAME_HEAD: Final = 512
_ENVELOPE_HEAD: Final = 64
_FIELD_HEAD: Final = 6
_NUMBER: Final = 10
_JOB: Final = _ENVELOPE_HEAD + 4 * limits.ID_CHARS + limits.EFFECT_KEY_CHARS + 2 * limits.HASH_BYTES + 15 * 16


def weight(body: RunnerBody | CoreBody) -> int:
    """Upper bound of the octets of this message on the wire, its envelope included."""
    if type(body) is Job:  # the hot one, without looking at every field
        return _JOB + len(body.input) + _value(body.trace_context)
    return _ENVELOPE_HEAD + _value(body)


def envelope_weight(envelope: RunnerEnvelope) -> int:
    """As `weight`; nearly exact for a sealed body."""
    if envelope.sealed:
        return _ENVELOPE_HEAD + len(envelope.sealed)
    return _ENVELOPE_HEAD if envelope.body is None else weight(envelope.body)


def batches(items: Iterable[tuple[E, int]], max_bytes: int) -> Iterator[tuple[E, ...]]:
    """Split (envelope, weight) pairs, in order, into frames of at most `max_bytes` and `limits.FRAME_ENVELOPES`.

    A single envelope that is heavier than a frame gets one of its own.
    """
    room = max_bytes - _FRAME_HEAD
    batch: list[E] = []
    used = 0
    for item, size in items:
        if batch and (used + size > room or len(batch) == limits.FRAME_ENVELOPES):
            yield tuple(batch)
            batch, used = [], 0
        batch.append(item)
        used += size
    if batch:
        yield tuple(batch)


def _value(value: Any) -> int:
    if isinstance(value, str):
        return _FIELD_HEAD + (len(value) if value.isascii() else 4 * len(value))
    if isinstance(value, bytes):
        return _FIELD_HEAD + len(value)
    if isinstance(value, int):
        return _FIELD_HEAD + _NUMBER
    if value is None:
        return 0
    items = value if isinstance(value, tuple) else _contents(value)
    return _FIELD_HEAD + sum([_value(item) for item in items])


def _contents(message: Any) -> list[Any]:
    kind = type(message)
    names = _names.get(kind)
    if names is None:
        names = _names[kind] = tuple(field.name for field in fields(kind))
    return [getattr(message, name) for name in names]


_names: dict[type, tuple[str, ...]] = {}
