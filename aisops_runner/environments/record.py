"""RECORD: the list of files of a wheel or of an installed package, each with its hash (PEP 376, PEP 427). Pure."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
from dataclasses import dataclass

MAX_BYTES = 16 * 1024 * 1024
MAX_ROWS = 200_000
_STRONG = frozenset({"sha256", "sha384", "sha512"})


class RecordInvalid(Exception):
    """It cannot be read; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Row:
    """One file: its path as written, and its hash; without one it is only known to exist."""

    path: str
    algorithm: str = ""
    digest: bytes = b""

    def fits(self, found: hashlib._Hash) -> bool:
        """Whether a file's hash, made with `begin`, is the stated one."""
        return found.digest() == self.digest

    def begin(self) -> hashlib._Hash:
        """A fresh hash of the row's kind."""
        return hashlib.new(self.algorithm)


def parse(raw: bytes) -> list[Row]:
    """Read a RECORD.

    Raises:
        RecordInvalid: It is too large, not a table, names a file twice, or a hash is weak or no hash.
    """
    if len(raw) > MAX_BYTES:
        raise RecordInvalid("its RECORD is too large")
    try:
        table = list(csv.reader(io.StringIO(raw.decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        raise RecordInvalid("its RECORD is not a table of text") from None
    if len(table) > MAX_ROWS:
        raise RecordInvalid("its RECORD is too long")
    rows = [_row(cells) for cells in table if cells]
    if len({row.path for row in rows}) != len(rows):
        raise RecordInvalid("its RECORD names a file twice")
    return rows


def _row(cells: list[str]) -> Row:
    if len(cells) != 3 or not cells[0]:
        raise RecordInvalid("a row of its RECORD is not PATH,HASH,SIZE")
    path, stated, _ = cells
    if not stated:
        return Row(path)
    algorithm, equals, text = stated.partition("=")
    if not equals or algorithm not in _STRONG:
        raise RecordInvalid(f"its RECORD states a hash of a kind that proves nothing: {algorithm[:20]!r}")
    try:
        digest = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise RecordInvalid("its RECORD states a hash that is none") from None
    return Row(path, algorithm, digest)
