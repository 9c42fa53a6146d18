"""Reads the head of a plain HTTP/1.1 request: one without anything unusual, which is what programs send. Pure.

`read_head` answers None for everything else, valid or not, and a server that knows all of HTTP then takes over from
the first byte of that request. So this reader decides nothing about odd requests; it only has to be sure of its own:
one length, no transfer coding, no header given twice, no octet outside visible ASCII and space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_LINE: Final = 1024
_HEAD: Final = re.compile(
    r"(GET|POST) (/[A-Za-z0-9._:/-]{0,512})(?:\?([A-Za-z0-9._:=&~-]{1,400}))? HTTP/1\.1\r\n"
    r"(?:[A-Za-z0-9-]{1,64}:[ ]{0,4}(?:[\x21-\x7e](?:[\x20-\x7e]{0,1000}[\x21-\x7e])?)?\r\n){1,64}\r\n"
)
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_NOT_PLAIN: Final = frozenset(
    {
        "transfer-encoding", "te", "trailer", "upgrade", "expect", "content-encoding", "http2-settings", "range",
        "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "proxy-connection",
    }
)  # fmt: skip
_JSON: Final = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"})
_NONE: Final[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """A plain request's head. `headers` has every header once, names in lower case; `length` is that of the body."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    length: int

    def header(self, name: str) -> Sequence[str]:
        """Return the values of a header: one or none."""
        value = self.headers.get(name.lower())
        return _NONE if value is None else (value,)

    def pairs(self) -> Sequence[tuple[str, str]]:
        """Return the query's keys and values; the head's grammar leaves nothing in them to decode."""
        if not self.query:
            return ()
        parts = [part.partition("=") for part in self.query.split("&") if part]
        return [(key, value) for key, _, value in parts]


def read_head(octets: bytes | bytearray) -> Head | None:
    """Return the head in these octets, which end with its empty line; None when it is not plain."""
    try:
        text = octets.decode("ascii")
    except UnicodeDecodeError:
        return None
    found = _HEAD.fullmatch(text)
    if found is None:
        return None
    lines = text[:-4].split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.lstrip(" ")
    if len(headers) != len(lines) - 1 or not _NOT_PLAIN.isdisjoint(headers) or "host" not in headers:
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    length = _length(found[1], headers)
    return None if length is None else Head(found[1], found[2], found[3] or "", headers, length)


def _length(method: str, headers: dict[str, str]) -> int | None:
    """Length of the body; None when that takes more than a number to tell."""
    announced = headers.get("content-length")
    if method == "GET":
        return 0 if announced is None else None
    if announced is None or _LENGTH.fullmatch(announced) is None:
        return None
    if headers.get("content-type", "").lower() not in _JSON:
        return None
    return int(announced)
