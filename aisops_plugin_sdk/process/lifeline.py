"""Ties the sidecar's life to its parent: stdin's end, the kernel's death signal, and a look at the parent's id.

Each works alone. A process whose loop is blocked by vendor code is ended too: the threads here do not need the loop.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

POLL_S = 0.5
ORPHAN_GRACE_S = 1.5
ORPHAN_EXIT = 1
_PR_SET_PDEATHSIG = 1


class Lifeline:
    """Watches the parent.

    Args:
        stdin: also end when stdin ends (the Runner holds the other end and writes nothing).
        on_lost: called once, from a thread, when the parent is gone; the process is ended 1.5 seconds later at the
            latest.
    """

    def __init__(self, *, stdin: bool, on_lost: Callable[[], None]) -> None:
        self._parent = os.getppid()
        self._on_lost = on_lost
        self._lost = threading.Event()
        self._stdin = stdin

    def hold(self) -> None:
        """Begin to watch. When the parent died before this call, the loss is noticed at once."""
        signal_on_parent_death()
        for name, target in (("ppid", self._poll), ("stdin", self._read)):
            if name != "stdin" or self._stdin:
                threading.Thread(target=target, name=f"aisops-lifeline-{name}", daemon=True).start()

    @property
    def lost(self) -> bool:
        """Whether the parent is gone."""
        return self._lost.is_set() or os.getppid() != self._parent

    def _poll(self) -> None:
        """Look at the parent's id twice a second. Needed where the kernel sends no signal, and when the loop hangs."""
        while os.getppid() == self._parent:
            time.sleep(POLL_S)
        self._lose()

    def _read(self) -> None:
        """Wait for the end of stdin."""
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        self._lose()

    def _lose(self) -> None:
        """Tell the owner, then end the process whatever the owner does."""
        if self._lost.is_set():
            return
        self._lost.set()
        self._on_lost()
        time.sleep(ORPHAN_GRACE_S)
        os._exit(ORPHAN_EXIT)


def signal_on_parent_death() -> None:
    """Ask Linux to send SIGTERM when the parent ends. The caller re-checks the parent, which may have ended already."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
