"""What every test stands on."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test.

    A shell that starts a command in the background has it ignore SIGINT, and children inherit that: the tests that
    press Ctrl-C would then wait for ever on a machine that runs them that way.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
