"""A reader of hostile JSON: what Python's own accepts beyond the standard is refused here.

Refused are NaN and Infinity, numbers that overflow, a key given twice, nesting deeper than 64, lone surrogates, and
anything that is not UTF-8. Errors name the cause and never quote the text.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

from pydantic_core import from_json, to_json

MAX_DEPTH: Final = 64
PLAIN_BYTES: Final = 4096


class NotStrictJson(ValueError):
    """The text is not JSON as accepted here; the message says why."""


def _refuse_constant(name: str) -> NoReturn:
    raise NotStrictJson(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotStrictJson("a number is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise NotStrictJson("an object has the same key twice")
    return document


_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique).decode


def loads(data: bytes) -> Any:
    """The value of a JSON text. The caller has capped its size.

    Raises:
        NotStrictJson: It is not acceptable.
    """
    try:
        value = _decode(data.decode())
    except UnicodeDecodeError:
        raise NotStrictJson("the text is not UTF-8") from None
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise NotStrictJson(f"{reason} at line {error.lineno} column {error.colno}") from None
    except NotStrictJson:
        raise
    except RecursionError:
        raise NotStrictJson(f"it is nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        raise NotStrictJson("an integer has too many digits") from None
    # The brackets bound the depth from above, so an ordinary text needs no walk.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _too_deep(value):
        raise NotStrictJson(f"it is nested deeper than {MAX_DEPTH}")
    if b"\\u" in data:
        _refuse_surrogates(value)
    return value


def is_strict(data: bytes) -> bool:
    """Whether `loads` would accept a JSON text; told at a third of its cost of one that is small and compact."""
    if len(data) <= PLAIN_BYTES and _stands_as_written(data):
        return True
    try:
        loads(data)
    except NotStrictJson:
        return False
    return True


def _stands_as_written(data: bytes) -> bool:
    """Whether the text is, octet by octet, what its value would be written as.

    Such a text is strict: a key given twice, a number or a text out of the ordinary would not be written as it came.
    """
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        return False
    try:
        return to_json(from_json(data, allow_inf_nan=False)) == data
    except ValueError:
        return False


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotStrictJson("a text holds half of a surrogate pair") from None


def _too_deep(value: Any) -> bool:
    """Goes level by level, because the text chooses how deep recursion would be."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            part
            for whole in level
            if isinstance(whole, (dict, list))
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not level:
            return False
    return any(isinstance(part, (dict, list)) for part in level)
