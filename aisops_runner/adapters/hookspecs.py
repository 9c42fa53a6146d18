"""The Runner's extension points, as pluggy hook specifications.

Two kinds of implementation exist. *Adapters* (a proxy per sidecar, and the built-in ones) implement
the hooks named `aisops_…`; the Runner registers them itself. *Customer hooks* implement
the others; they come from entry points of group `aisops.runner.hooks` that the configuration names one by one, and run
inside the Runner's process, so they must be quick and must not block.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import pluggy

from aisops_protocol.messages import Capability
from aisops_runner.adapters.calls import Call, CallError, Ended, Outcome

PROJECT = "aisops_runner"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class RunnerHooks:
    """Every hook the Runner calls. Arguments are only ever added, and implementations may take fewer."""

    @hookspec
    def aisops_capabilities(self) -> list[Capability]:
        """The capabilities this adapter offers now."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def aisops_invoke(self, call: Call) -> Awaitable[Outcome] | None:
        """Run the call, or return None when its capability is not yours."""

    @hookspec(firstresult=True)
    def aisops_begin(self, calls: Sequence[Call], ended: Ended) -> bool | None:
        """Run calls that came together, as `aisops_invoke` would each; return True at once, and tell `ended` later.

        Optional: without it, or when it returns None, each call is run by `aisops_invoke`. Whoever implements it
        implements `aisops_cut_off` too.
        """

    @hookspec
    def aisops_cut_off(self, job_id: str) -> None:
        """Wait no longer for the calls of this job that were begun, if there are any: tell each as None, soon."""

    @hookspec(firstresult=True)
    def aisops_ready(self, capability: str) -> bool | None:
        """Whether a call would leave at once; None when the capability is not yours."""

    @hookspec(firstresult=True)
    def aisops_prepare(self, capability: str) -> Awaitable[None] | None:
        """Get ready for calls, and end when you are or will not soon be; None when the capability is not yours."""

    @hookspec
    def aisops_cancel(self, job_id: str) -> None:
        """Ask a running call of this job to stop, if you have one; must not block."""

    @hookspec(firstresult=True)
    def before_invoke(self, call: Call) -> CallError | None:
        """Return an error to forbid the call. A hook that raises forbids it too (a broken guard guards)."""

    @hookspec
    def after_invoke(self, call: Call, outcome: Outcome, duration_s: float) -> None:
        """Observe a finished call, for example for an audit sink. Exceptions are logged and ignored."""

    @hookspec
    def redact(self, text: str) -> str:
        """Return `text` without what must not leave this machine; applied to every log line of a sidecar."""
        raise NotImplementedError
