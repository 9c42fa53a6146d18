"""`PluginTest`: the real sidecar server of a plugin, in-process on loopback, with a signing client."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Self

from aisops_plugin_sdk.events import EventRecord
from aisops_plugin_sdk.logs import LogRecord
from aisops_plugin_sdk.plugin import Plugin
from aisops_plugin_sdk.server.sidecar import Sidecar
from aisops_plugin_sdk.testing.client import Answer, SidecarClient


class PluginTest:
    """Serves a plugin while the `async with` block runs.

    Args:
        plugin: the plugin under test.
        env: its environment; nothing is taken from the real one.
        dry_run: sets AISOPS_DRY_RUN=1.
        token: the internal token; None draws one, an empty text starts the sidecar without any.
        wait: wait for `on_start` before the block begins.
        storing: play the Runner for webhooks: what they tell is put into `stored`, and the provider is answered then.

    Attributes:
        logs: every log record so far.
        events: every event so far.
        stored: what webhooks told, as the contract's documents: `kind`, `key`, `facts`, …
        client: for calls that the shortcuts below do not cover.
        shutdown_requested: set when POST /v1/shutdown was called.
    """

    def __init__(
        self,
        plugin: Plugin,
        *,
        env: Mapping[str, str] | None = None,
        dry_run: bool = False,
        token: str | None = None,
        wait: bool = True,
        storing: bool = False,
    ) -> None:
        self.plugin = plugin
        self.token = secrets.token_urlsafe(32) if token is None else token
        self.logs: list[LogRecord] = []
        self.events: list[EventRecord] = []
        self.stored: list[dict[str, Any]] = []
        self._storing = storing
        self._store: asyncio.Task[None] | None = None
        self.port = 0
        self.shutdown_requested = asyncio.Event()
        self._environ = {**(env or {}), "AISOPSFLOW_INTERNAL_AUTH_TOKEN": self.token}
        if dry_run:
            self._environ["AISOPS_DRY_RUN"] = "1"
        self._wait = wait
        self._sidecar: Sidecar | None = None
        self._client: SidecarClient | None = None

    async def __aenter__(self) -> Self:
        self._sidecar = Sidecar(
            self.plugin,
            self._environ,
            sink=self.logs.append,
            on_shutdown=self.shutdown_requested.set,
            on_event=self._take_event,
        )
        self.port = await self._sidecar.listen(0)
        starting = self._sidecar.begin()
        if self._wait:
            await starting
        self._client = SidecarClient(self.port, self.token or None)
        await self._client.__aenter__()
        if self._storing:
            self._store = asyncio.create_task(self._keep_storing(self._client))
            while not self._sidecar.attended:  # noqa: ASYNC110 - the question is on its way
                await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._store is not None:
            self._store.cancel()
            await asyncio.wait([self._store])
        if self._client is not None:
            await self._client.__aexit__()
        if self._sidecar is not None:
            await self._sidecar.stop(drain_s=0.0)

    async def _keep_storing(self, client: SidecarClient) -> None:
        """Ask for events and say that they are stored, as the Runner does."""
        stored: list[str] = []
        while True:
            answer = await client.post("/v1/inbound", {"stored": stored, "refused": []})
            events = answer.result.get("events", [])
            self.stored += events
            stored = [event["id"] for event in events]

    def _take_event(self, event: EventRecord) -> bool:
        self.events.append(event)
        return True

    @property
    def client(self) -> SidecarClient:
        """The signing client.

        Raises:
            RuntimeError: outside of the `async with` block.
        """
        if self._client is None:
            raise RuntimeError("use `async with PluginTest(...)`")
        return self._client

    @property
    def state(self) -> Any:
        """The plugin's `ctx.state`, for putting fakes in.

        Raises:
            RuntimeError: outside of the `async with` block.
        """
        if self._sidecar is None:
            raise RuntimeError("use `async with PluginTest(...)`")
        return self._sidecar.lifecycle.context().state

    async def invoke(self, capability: str, given: Mapping[str, Any], **options: Any) -> Answer:
        """Call a capability. Options are those of `SidecarClient.invoke` (idempotency_key, job_id, deadline_s, …)."""
        return await self.client.invoke(capability, given, **options)

    async def send(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Answer:
        """Call POST /send."""
        return await self.client.send(body, idempotency_key=idempotency_key)

    async def get(self, target: str, **options: Any) -> Answer:
        """Send a signed GET (`signed=False` for an unsigned one)."""
        return await self.client.get(target, **options)

    async def post(self, target: str, body: Mapping[str, Any] | bytes = b"", **options: Any) -> Answer:
        """Send a signed POST (`signed=False` for an unsigned one)."""
        return await self.client.post(target, body, **options)
