"""Keeps stdout for the contract's lines: whatever vendor code prints goes to stderr instead."""

import contextlib
import json
import os
import queue
import sys
import threading
from typing import Any

MAX_WAITING = 10_000
FLUSH_S = 1.0


class ContractOutput:
    """Owns the real stdout. Lines are written by a thread, so that a reader who stops reading never stops the loop.

    Making one redirects file descriptor 1, and with it `print`, C code and child processes, to stderr.

    Attributes:
        dropped: lines thrown away because too many were waiting.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self.dropped = 0
        self._lines: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._write_lines, name="aisops-stdout", daemon=True)
        self._thread.start()

    def line(self, document: dict[str, Any]) -> bool:
        """Write one JSON line, or drop it and say so when the reader is far behind. Never blocks."""
        written = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            self._lines.put_nowait(written)
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        """Write what is waiting, for at most one second. Further calls do nothing."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=FLUSH_S)
        self._thread.join(FLUSH_S)

    def _write_lines(self) -> None:
        """Write lines until told to end or until nobody can read them."""
        while (line := self._lines.get()) is not None:
            try:
                _write_all(self._descriptor, line)
            except OSError:
                return


def _write_all(descriptor: int, data: bytes) -> None:
    """Write every byte."""
    while data:
        data = data[os.write(descriptor, data) :]
