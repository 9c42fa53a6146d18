"""Ties a program that knows of no lifeline to the Runner: asks the kernel to kill it with the Runner, and becomes it.

Run as a script, by its path, with `-I -S`: the Runner's process id, then the program's command. The wish survives the
`exec` that follows. Where the kernel has no such wish (not Linux) the program is only recorded, and ended at the
Runner's next start. Standard library only, and as little of it as will do: every start of a program waits for this.
"""

import os
import sys

NOT_STARTED = 127
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def main(words: list[str]) -> int:
    """Become the program; an exit code only when that failed."""
    runner, command = int(words[0]), words[1:]
    if sys.platform == "linux":
        try:
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        except (ImportError, OSError, AttributeError):  # as where there is no such wish
            pass
    if os.getppid() != runner:  # it ended before the wish was heard
        return NOT_STARTED
    try:
        os.execve(command[0], command, os.environ)  # noqa: S606 - becoming the program is what this is for
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
    return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
