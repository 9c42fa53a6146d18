"""An independent record of how far the lane had got, so that vanished rows are noticed.

SQLite silently ends a damaged write-ahead log at the first bad frame and calls the file sound. This small file, synced
at most once a second, says which numbers had been committed; a database that knows fewer has lost rows.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from aisops_runner import disk

_RECORD = struct.Struct(">4sQ16sI")
_MAGIC = b"AOHW"


def load(path: Path) -> int:
    """The recorded high-water mark (the last number committed); 0 when there is no sound record."""
    try:
        raw = path.read_bytes()
    except OSError:
        return 0
    if len(raw) != _RECORD.size:
        return 0
    magic, seq, _epoch, crc = _RECORD.unpack(raw)
    if magic != _MAGIC or crc != zlib.crc32(raw[:-4]):
        return 0
    return int(seq)


def save(path: Path, seq: int, epoch: bytes) -> None:
    """Replace the record and wait until it is on the disk under its name. Blocking.

    Raises:
        OSError: The disk refused.
    """
    body = struct.pack(">4sQ16s", _MAGIC, seq, epoch)
    draft = path.with_suffix(".new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, body + struct.pack(">I", zlib.crc32(body)))
        os.fdatasync(fd)
    finally:
        os.close(fd)
    disk.replace(draft, path)
