"""A wall clock of one's own for a program and all its children, set at will while they run, through libfaketime.

The monotonic clock stays true, as it does on a machine whose clock is set. The library must be preloaded, and a Runner
passes LD_PRELOAD to nobody; so Python starts itself again with it, by a `sitecustomize` on the PYTHONPATH.
"""

from __future__ import annotations

from pathlib import Path

from tests.chaos.fault import Need

_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")

_START_AGAIN = '''
"""Gives this Python, and those it starts, the clock in the file `now` beside this file."""
import os, sys, threading, time

if {library!r} not in os.environ.get("LD_PRELOAD", ""):
    os.environ.update(
        LD_PRELOAD={library!r},
        FAKETIME_TIMESTAMP_FILE={now!r},
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
# Under the library, clock_nanosleep refuses the clock that time.sleep uses.
time.sleep = lambda seconds: threading.Event().wait(seconds) and None
'''


def library() -> str:
    """Where libfaketime is; empty when it is nowhere."""
    for place in map(Path, _PLACES):
        for found in sorted(place.glob("**/faketime/libfaketimeMT.so.1")):
            return str(found)
    return ""


LIBFAKETIME = Need("libfaketime", lambda: "" if library() else "needs libfaketime (package faketime)")


class WallClock:
    """The clock of the programs that are started with its environment.

    Args:
        folder: Made; what the programs need to find the clock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._now = self._folder / "now"
        folder.mkdir(parents=True)
        self.set(0)
        (folder / "sitecustomize.py").write_text(_START_AGAIN.format(library=library(), now=str(self._now)).lstrip())

    @property
    def search(self) -> str:
        """What must stand on the PYTHONPATH of a program, first."""
        return str(self._folder)

    def set(self, ahead_s: int) -> None:
        """Put the clock so many seconds ahead of the true time; negative: behind."""
        draft = self._folder / "now.new"
        draft.write_text(f"{ahead_s:+d}\n")
        draft.replace(self._now)
