"""What a capability knows about the call it serves."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from aisops_plugin_sdk.logs import JobLogger, LogRecord, LogSink
from aisops_plugin_sdk.secret import Secret

if TYPE_CHECKING:
    from aisops_plugin_sdk.http_client import Http
    from aisops_plugin_sdk.outgoing import Outgoing

ConfigT = TypeVar("ConfigT", default=Any)
Emit = Callable[[str, Mapping[str, Any], str], bool]
"""Sends an event on its way: kind, facts, and the job it belongs to or an empty text."""


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
    _outgoing: "Outgoing | None" = field(default=None, repr=False)
    _emitter: "Emit | None" = field(default=None, repr=False)
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

    def http(
        self,
        base_url: str = "",
        *,
        name: str = "",
        timeout_s: float = 15.0,
        ca_file: str = "",
        bearer: Secret | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        max_response_bytes: int = 1024 * 1024,
    ) -> "Http":
        """Give an HTTP client for one provider; the same one for the same arguments. The SDK closes it.

        It goes only where `Plugin(egress=...)` says, follows no redirect, takes proxies and authorities from the
        environment, and never waits longer than the call it is used in. Usable on the event loop.

        Args:
            base_url: the provider's base address; requests then name paths.
            name: the provider, for the texts of errors; the host when empty.
            timeout_s: longest wait for one answer, in seconds.
            ca_file: PEM file of authorities to trust instead of the environment's or the system's.
            bearer: sent as `Authorization: Bearer …`, to the base address only.
            headers: sent with every request to the base address; a `Secret` is revealed there only.
            max_response_bytes: longer answers are refused.

        Raises:
            NotConfigured: the file of authorities cannot be read, or the environment's proxy cannot be used.
            Permanent: code `egress_denied`: the base address cannot be used at all.
        """
        if self._outgoing is None:
            raise RuntimeError("this context belongs to no sidecar; use PluginTest")
        return self._outgoing.client(
            base_url,
            name=name,
            timeout_s=timeout_s,
            ca_file=ca_file,
            bearer=bearer,
            headers=headers,
            max_response_bytes=max_response_bytes,
        )

    def emit(self, kind: str, facts: Mapping[str, Any] | None = None) -> bool:
        """Tell Core that something happened; returns at once. The Runner keeps the event until Core has it.

        Secrets of the config are removed. What a plugin must not lose (a click that a person made once) belongs into a
        webhook, which waits for the Runner: until the Runner has read an event, a kill of the sidecar loses it.

        Args:
            kind: `<plugin>.<word>`, such as `acme-chat.quota_low`; the word in lower case, with digits and `_`.
            facts: a JSON object of at most 16 KiB.

        Returns:
            False when it was dropped: at most 100 at once and 10 a second go out.

        Raises:
            ValueError: the kind is not this plugin's, or the facts are no such object.
        """
        if self._emitter is None:
            raise RuntimeError("this context belongs to no sidecar; use PluginTest")
        return self._emitter(kind, facts or {}, self.call.job_id)

    def progress(self, fraction: float, text: str = "") -> None:
        """Report progress, from 0 to 1, as a log line of this job."""
        self.sink(LogRecord("info", text, self.call.job_id, {}, fraction))
