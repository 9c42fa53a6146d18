"""Ends the process that runs this with SIGKILL at its Nth step that touches the data folder or starts a program.

Put on PYTHONPATH as `sitecustomize`: the product has no switch for this. The steps are the interpreter's own audit
events, so none can be forgotten: every file opened for writing, renamed or deleted, every folder made, every program.
"""

import os
import signal
import sys

STEP = int(os.environ.get("KILL_AT", "0"))
DATA = os.environ.get("KILL_DATA", "\0")
TRACE = os.environ.get("KILL_TRACE", "")
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "shutil.rmtree"}
seen = 0


def counted(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether this is a step after which something may be half done."""
    if event == "subprocess.Popen":
        return True
    if event == "open" and isinstance(arguments[0], str):
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        return arguments[0].startswith(DATA) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGES and any(str(one).startswith(DATA) for one in arguments[:2])


def step(event: str, arguments: tuple[object, ...]) -> None:
    """Count, and end when it is time."""
    global seen  # noqa: PLW0603 - an audit hook has nowhere else to count
    if os.getpid() != OWN or not counted(event, arguments):
        return
    seen += 1
    if TRACE:
        os.write(2, f"step {seen}: {event} {str(arguments[0])[-60:]}\n".encode())
    if seen == STEP:
        os.kill(OWN, signal.SIGKILL)


OWN = os.getpid()
if STEP and "plugin" in sys.orig_argv:
    sys.addaudithook(step)
