"""Values that nobody changes: frozen for the type checker, made at the price of a plain object.

`dataclass(frozen=True)` sets each field by a call, which makes a value six times as dear; a stream makes a dozen of
them for every job. mypy refuses an assignment to a record as it does to a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

__all__ = ["record"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A dataclass with slots, an equality and a hash by its fields."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
