"""Config, `on_start`, `check` and `on_stop` of one plugin, and whether it can take calls."""

import asyncio
import contextlib
import enum
import time
import traceback
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from aisops_plugin_sdk import config as plugin_config
from aisops_plugin_sdk.config import Config
from aisops_plugin_sdk.context import CallInfo, Context
from aisops_plugin_sdk.egress import OPERATOR_ENV, Egress, read_egress
from aisops_plugin_sdk.errors import ConfigInvalid, PluginError
from aisops_plugin_sdk.events import EventRecord, EventSink
from aisops_plugin_sdk.logs import LogRecord, LogSink
from aisops_plugin_sdk.outgoing import Outgoing
from aisops_plugin_sdk.plugin import Plugin
from aisops_plugin_sdk.proxies import VARIABLES as PROXY_VARIABLES
from aisops_plugin_sdk.proxies import credentials_in as proxy_credentials
from aisops_plugin_sdk.secret import Redactor, secrets_in
from aisops_plugin_sdk.server.answers import Refusal, from_config
from aisops_plugin_sdk.server.authored import AuthoredCalls
from aisops_plugin_sdk.server.emitting import Emitter
from aisops_plugin_sdk.signing import TOKEN_ENV

CHECK_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0


def _nobody(_event: EventRecord) -> bool:
    return False


class Phase(enum.Enum):
    """Where a sidecar is in its life."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    DRAINING = "draining"


class Lifecycle:
    """Holds the plugin's config and state and runs its hooks.

    Args:
        plugin: the plugin.
        environ: where the config is read from, once.
        clock: unix seconds.
        monotonic: seconds that only run.
        sink: where log records go.
        on_event: takes the plugin's events on their way.
    """

    def __init__(
        self,
        plugin: Plugin,
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        sink: LogSink,
        on_event: EventSink = _nobody,
    ) -> None:
        self.plugin = plugin
        self.dry_run = environ.get("AISOPS_DRY_RUN") == "1"
        self.authored = AuthoredCalls(plugin.max_concurrency)
        self.phase = Phase.STARTING
        self._clock = clock
        self._monotonic = monotonic
        self._sink = sink
        self._state = SimpleNamespace()
        self._settled = asyncio.Event()
        self._failure: PluginError | None = None
        self._hook_ran = False
        self._config: Config | None = None
        raw_secrets = [environ[env.name] for env in plugin.env if env.secret and env.name in environ]
        tokens = [environ[name] for name in TOKEN_ENV if name in environ]
        self._outgoing = Outgoing(Egress((), None), {}, dry_run=self.dry_run)
        try:
            self._config = self._configure(environ)
        except ConfigInvalid as error:
            self._failure = from_config(error)
        proxies = proxy_credentials(environ)
        self._emitter = Emitter(plugin.name, on_event, sink=sink, clock=clock)
        self.redactor = Redactor([*tokens, *raw_secrets, *secrets_in(self._config), *proxies])
        self._emitter.redact = self.redactor.text

    def _configure(self, environ: Mapping[str, str]) -> Config:
        """Read the config, and from it where requests may go.

        Raises:
            ConfigInvalid: a variable is missing or invalid.
        """
        found = plugin_config.migrated(self.plugin.config_class, environ)
        config = plugin_config.load(self.plugin.config_class, found.environ)
        if found.retired:
            text = (
                f"the configuration sets variables of an older version: {', '.join(found.retired)}; it was understood"
            )
            version = self.plugin.config_class.config_version
            self._sink(LogRecord("warning", f"{text}, but set those of version {version} instead"))
        configured = plugin_config.values_by_variable(config)
        egress = read_egress(self.plugin.egress, configured, environ.get(OPERATOR_ENV, ""))
        ways = {name: environ[name] for name in (*PROXY_VARIABLES, "SSL_CERT_FILE") if name in environ}
        self._outgoing = Outgoing(egress, ways, dry_run=self.dry_run)
        return config

    @property
    def configured(self) -> bool:
        """Whether the config is complete and valid."""
        return self._config is not None

    @property
    def serving(self) -> bool:
        """Whether `on_start` has ended well, so that calls need not wait."""
        return self._settled.is_set() and self._failure is None

    def context(self, call: CallInfo | None = None, allowed_s: float | None = None) -> Context[Any]:
        """Build the context of a call that may take so long from now, or of a hook when None."""
        return Context(
            config=self._config,
            state=self._state,
            dry_run=self.dry_run,
            sink=self._sink,
            call=call or CallInfo(),
            clock=self._clock,
            monotonic=self._monotonic,
            _until=None if allowed_s is None else self._monotonic() + allowed_s,
            _outgoing=self._outgoing,
            _emitter=self._emitter.emit,
        )

    async def start(self) -> None:
        """Run `on_start`. A failure does not end the process: calls are answered with its reason."""
        try:
            if self._failure is None:
                await self._run_hook("on_start", self.plugin.startup_timeout_s)
        except PluginError as error:
            self._failure = error
        if self.phase is Phase.STARTING:
            self.phase = Phase.READY if self._failure is None else Phase.FAILED
        self._settled.set()
        if self._failure is not None:
            self._sink(LogRecord("error", f"not ready: {self._failure}"))

    async def started(self) -> None:
        """Wait until `on_start` has ended.

        Raises:
            PluginError: the plugin is not configured, or `on_start` failed.
        """
        self.require_config()
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def require_config(self) -> None:
        """Refuse when configuration is missing or invalid.

        Raises:
            NotConfigured: it names the variables.
        """
        if self._config is None and self._failure is not None:
            raise self._failure

    def require_open(self) -> None:
        """Refuse new calls while draining.

        Raises:
            Refusal: 503 `draining`, retryable.
        """
        if self.phase is Phase.DRAINING:
            raise Refusal(503, "draining", "the plugin is stopping", retryable=True)

    def readiness(self) -> PluginError | None:
        """Tell why calls cannot be taken now, or None when they can."""
        if self._failure is not None:
            return self._failure
        if self.phase is Phase.STARTING:
            return Refusal(503, "starting", "on_start has not finished", retryable=True)
        if self.phase is Phase.DRAINING:
            return Refusal(503, "draining", "the plugin is stopping", retryable=True)
        return None

    async def check(self) -> bool:
        """Run the plugin's connection test. Returns whether it has one.

        Raises:
            PluginError: what the test says is wrong.
        """
        await self.started()
        if self.plugin.hook("check") is None:
            return False
        await self._run_hook("check", CHECK_TIMEOUT_S)
        return True

    def drain(self) -> None:
        """Take no further calls."""
        self.phase = Phase.DRAINING

    async def stop(self) -> None:
        """Run `on_stop`, also after a failed `on_start` so that what it opened is closed. Never raises."""
        self.phase = Phase.DRAINING
        if self._hook_ran or self.plugin.hook("on_start") is None:
            with contextlib.suppress(PluginError):
                if self._config is not None:
                    await self._run_hook("on_stop", STOP_TIMEOUT_S)
        await self._outgoing.close()
        self.authored.close()

    async def _run_hook(self, name: str, timeout_s: float) -> None:
        """Run one hook, turning whatever it raises into an error to answer with."""
        hook = self.plugin.hook(name)
        if hook is None:
            return
        self._hook_ran = True
        try:
            async with asyncio.timeout(timeout_s):
                await self.authored.call(hook, self.context())
        except PluginError:
            raise
        except TimeoutError:
            raise Refusal(503, f"{name}_timeout", f"{name} took longer than {timeout_s:g} s") from None
        except Exception as error:  # noqa: BLE001 - author code may raise anything; it must not end the sidecar
            self._sink(LogRecord("error", "".join(traceback.format_exception(error))))
            raise Refusal(503, f"{name}_failed", f"{name} failed: {type(error).__name__}") from None
