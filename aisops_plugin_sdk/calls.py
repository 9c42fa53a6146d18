"""What code deep inside a call may ask about it without being handed the context."""

from collections.abc import Callable
from contextvars import ContextVar

time_left_s: ContextVar[Callable[[], float] | None] = ContextVar("aisops_time_left_s", default=None)
"""How many seconds the call that runs here has left; None outside a call."""
