"""How much room the outbox may take on the disk it is on."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from aisops_runner.outbox.queue import Bounds

OUTBOX_BYTES = 512 * 1024 * 1024
OUTBOX_SHARE = 0.1
FILE_FACTOR = 2
LEAST_FILE_BYTES = 16 * 1024 * 1024


def file_bytes(bounds: Bounds) -> int:
    """Where the file itself ends: the lane, results beyond its bound, the journal, and what is free between them."""
    return max(LEAST_FILE_BYTES, FILE_FACTOR * bounds.max_bytes)


def bounds_for(data_dir: Path) -> Bounds:
    """At most 512 MiB and at most a tenth of the disk."""
    with contextlib.suppress(OSError):
        existing = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
        return Bounds(max_bytes=min(OUTBOX_BYTES, int(shutil.disk_usage(existing).total * OUTBOX_SHARE)))
    return Bounds(max_bytes=OUTBOX_BYTES)
