"""What a capability knows about the call it serves."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Generic

from typing_extensions import TypeVar

from aisops_plugin_sdk.logs import JobLogger, LogRecord, LogSink

ConfigT = TypeVar("ConfigT", default=Any)


@dataclass(frozen=True, slots=True)
class CallInfo:
    """The facts of one call, from its headers. `deadline` is unix seconds, None when the caller set none."""

    job_id: str = ""
    tenant_id: str = ""
    runner_id: str = ""
    execution_id: str = ""
    step_id: str = ""
    attempt: int = 1
    idempotency_key: str = ""
    traceparent: str = ""
    deadline: float | None = None


@dataclass(slots=True)
class Context(Generic[ConfigT]):
    """Given to every hook and capability. `Context[MyConfig]` types `config`.

    Attributes:
        config: the plugin's loaded configuration.
        state: the plugin's own objects, one per process: set attributes in `on_start`, close them in `on_stop`.
        dry_run: nothing may leave: build the request, do not send it, answer as if it had been accepted.
        call: the facts of the call; the properties below are its fields.

    A deadline is a moment on the wall clock, which may be set while the call runs. It is compared with that clock once,
    when the call begins; from there the time that is left is counted on a clock that only runs.
    """

    config: ConfigT
    state: SimpleNamespace
    dry_run: bool
    sink: LogSink = field(repr=False)
    call: CallInfo = field(default_factory=CallInfo)
    clock: Callable[[], float] = field(default=time.time, repr=False)
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)
    _until: float | None = field(default=None, repr=False)
    _cancelled: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if self._until is None and self.call.deadline is not None:
            self._until = self.monotonic() + self.call.deadline - self.clock()

    @property
    def logger(self) -> JobLogger:
        """Logs to the Runner; lines carry this job, secrets of the config are removed."""
        return JobLogger(self.sink, self.call.job_id)

    @property
    def tenant_id(self) -> str:
        """The tenant on whose behalf the call runs."""
        return self.call.tenant_id

    @property
    def runner_id(self) -> str:
        """The Runner that calls."""
        return self.call.runner_id

    @property
    def job_id(self) -> str:
        """The job; empty when called by hand and in `on_start`, `on_stop` and `check`."""
        return self.call.job_id

    @property
    def execution_id(self) -> str:
        """The workflow execution the job belongs to, or empty."""
        return self.call.execution_id

    @property
    def step_id(self) -> str:
        """The step of that execution, or empty."""
        return self.call.step_id

    @property
    def attempt(self) -> int:
        """Which attempt of the job this is, from 1."""
        return self.call.attempt

    @property
    def idempotency_key(self) -> str:
        """Equal for every repetition of one effect: hand it to the provider when it honours such keys."""
        return self.call.idempotency_key

    @property
    def traceparent(self) -> str:
        """W3C trace context of the caller, or empty."""
        return self.call.traceparent

    @property
    def deadline(self) -> float | None:
        """When the call is given up, in unix seconds; None outside a call."""
        return self.call.deadline

    def remaining_s(self) -> float:
        """Seconds until the deadline, never negative; infinite outside a call. A clock that is set changes nothing."""
        return float("inf") if self._until is None else max(0.0, self._until - self.monotonic())

    @property
    def cancelled(self) -> bool:
        """The call was cancelled or its deadline passed. Functions in threads must look: nothing interrupts them."""
        return self._cancelled

    def cancel(self) -> None:
        """Mark the call as cancelled. Called by the server."""
        self._cancelled = True

    def progress(self, fraction: float, text: str = "") -> None:
        """Report progress, from 0 to 1, as a log line of this job."""
        self.sink(LogRecord("info", text, self.call.job_id, {}, fraction))
