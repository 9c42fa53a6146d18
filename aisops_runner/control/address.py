"""Where the control socket stands. Apart from the server, so that the command line need not import it."""

from __future__ import annotations

SOCKET_NAME = "control.sock"
