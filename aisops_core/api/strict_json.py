"""A JSON reader for hostile input: no NaN, no duplicate keys, no deep nesting, no number that becomes infinite.

Python's own reader accepts all of these, and each means something else to the next program that reads the value.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 64


class InvalidJson(ValueError):
    """The text is not JSON as we accept it. The message names the cause and never quotes the text."""


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidJson("a number is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise InvalidJson("an object has the same key twice")
    return result


_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique).decode


def _depth_is_safe(value: Any) -> bool:
    """Walk level by level instead of recursing: the input chooses the depth."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        following: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                following.extend(item.values())
            elif isinstance(item, list):
                following.extend(item)
        if not following:
            return True
        level = [item for item in following if isinstance(item, (dict, list))]
    return not level


def parse(data: bytes) -> Any:
    """Return the value of a JSON text in UTF-8 (no byte order mark). Raises InvalidJson."""
    try:
        value = _decode(data.decode())
    except InvalidJson:
        raise
    except UnicodeDecodeError:
        raise InvalidJson("the text is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(
            f"{error.msg[0].lower()}{error.msg[1:]} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise InvalidJson(f"it is nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        raise InvalidJson("an integer has too many digits") from None
    # Brackets bound the depth from above, so that ordinary documents need no walk.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and not _depth_is_safe(value):
        raise InvalidJson(f"it is nested deeper than {MAX_DEPTH}")
    return value


def dump(value: Any) -> bytes:
    """Return compact JSON in UTF-8. Raises InvalidJson for texts that are not Unicode (lone surrogates)."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        raise InvalidJson("a text holds half of a surrogate pair, which is not Unicode") from None
