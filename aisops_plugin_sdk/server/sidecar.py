"""The driver of a sidecar: from a request to its answer. It holds no rule of its own but the order of the checks."""

import asyncio
import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from pydantic import BaseModel, ValidationError

from aisops_plugin_sdk import batch, contracts, signing, webhooks
from aisops_plugin_sdk.capability import Capability, refused_mapping
from aisops_plugin_sdk.errors import ContractError, InvalidRequest, JsonRefused, PluginError, SignatureRefused
from aisops_plugin_sdk.events import EventSink
from aisops_plugin_sdk.logs import LogRecord, LogSink
from aisops_plugin_sdk.plugin import Plugin
from aisops_plugin_sdk.server import answers
from aisops_plugin_sdk.server.answers import Answer, Refusal, Stream
from aisops_plugin_sdk.server.batches import BatchAnswer
from aisops_plugin_sdk.server.body import body_object, read_body
from aisops_plugin_sdk.server.call_headers import read_call
from aisops_plugin_sdk.server.call_lines import CallLine, read_calls
from aisops_plugin_sdk.server.inbound import Webhooks, not_here
from aisops_plugin_sdk.server.inbox import Inbox
from aisops_plugin_sdk.server.invocations import Ended, Invocations
from aisops_plugin_sdk.server.lifecycle import Lifecycle
from aisops_plugin_sdk.server.routes import Route, find_route
from aisops_plugin_sdk.server.status import Status
from aisops_plugin_sdk.server.transport import Transport

LOOPBACK = "127.0.0.1"
MAX_DELAY_MS = 60_000
_LOCAL_HOST = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_DELAY = re.compile(r"(?:^|&)delay_ms=([0-9]{1,6})(?:&|$)", re.ASCII)


class Sidecar:
    """One plugin behind HTTP.

    Args:
        plugin: the plugin.
        environ: its environment: config, internal token, AISOPS_DRY_RUN. Read once.
        sink: where log records go.
        on_event: takes the plugin's events on their way.
        on_shutdown: called when POST /v1/shutdown asks to end; the owner then calls `stop`.
        clock: unix seconds.
        monotonic: seconds that only run, by which calls see their time go.
    """

    def __init__(
        self,
        plugin: Plugin,
        environ: Mapping[str, str],
        *,
        sink: LogSink,
        on_shutdown: Callable[[], None],
        on_event: EventSink,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plugin = plugin
        self._manifest = plugin.manifest()
        self._clock = clock
        self._sink = sink
        self._on_shutdown = on_shutdown
        token = next((environ[name] for name in signing.TOKEN_ENV if environ.get(name)), None)
        self._verifier = signing.Verifier(token)
        self._lifecycle = Lifecycle(plugin, environ, clock=clock, monotonic=monotonic, sink=sink, on_event=on_event)
        self._invocations = Invocations(self._lifecycle, sink=sink, clock=clock)
        self._inbox = Inbox()
        self._webhooks = Webhooks(self._lifecycle, self._inbox, sink=sink, clock=clock)
        self._transport = Transport(self.answer)
        self._public = Transport(self.answer_webhook)
        self._starting: asyncio.Task[None] | None = None
        self._status = Status(self._manifest, self._lifecycle, clock)

    @property
    def lifecycle(self) -> Lifecycle:
        """Config, state and readiness."""
        return self._lifecycle

    @property
    def attended(self) -> bool:
        """Whether somebody asks for the events of webhooks."""
        return self._inbox.attended

    @property
    def unfinished(self) -> bool:
        """Whether plugin code that was given up still runs."""
        return self._invocations.busy > 0

    async def listen(self, port: int) -> int:
        """Listen on 127.0.0.1 and return the port. Probes are answered from here on.

        Raises:
            OSError: the port is in use.
        """
        return await self._transport.open(LOOPBACK, port)

    async def listen_for_webhooks(self, host: str, port: int) -> int:
        """Listen at an address of its own for webhooks and nothing else, and return the port.

        Raises:
            OSError: the address cannot be used.
        """
        return await self._public.open(host, port)

    def begin(self) -> "asyncio.Task[None]":
        """Run `on_start` in the background; calls that come meanwhile wait for it."""
        self._starting = asyncio.create_task(self._lifecycle.start())
        return self._starting

    async def stop(self, drain_s: float) -> None:
        """Refuse new calls, give running ones `drain_s` seconds, run `on_stop`, stop listening."""
        self._lifecycle.drain()
        self._inbox.close()
        await self._invocations.drain(drain_s)
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await self._lifecycle.stop()
        await self._public.close()
        await self._transport.close()

    async def answer(self, request: web.BaseRequest) -> Answer | Stream:
        """Answer one request. Whatever happens, the answer is JSON, but for those of a webhook."""
        try:
            webhook = self._plugin.webhook_at(request.raw_path.partition("?")[0])
            return await (self._answer(request) if webhook is None else self._webhooks.answer(webhook, request))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the last door: a fault of ours must not show a traceback
            return self._failed(error)

    async def answer_webhook(self, request: web.BaseRequest) -> Answer | Stream:
        """Answer one request on the listener for webhooks: nothing else is there."""
        if self._plugin.webhook_at(request.raw_path.partition("?")[0]) is None:
            return not_here()
        return await self.answer(request)

    def _failed(self, error: Exception) -> Answer:
        """Answer what went wrong with a request or with one call of a batch."""
        if isinstance(error, SignatureRefused):
            error = answers.from_signature(error)
        elif isinstance(error, JsonRefused):
            error = answers.from_json(error)
        elif not isinstance(error, PluginError):
            self._sink(LogRecord("error", f"request failed: {type(error).__name__}"))
            error = Refusal(500, "internal_error", type(error).__name__)
        return answers.failure(error, self._lifecycle.redactor)

    async def _answer(self, request: web.BaseRequest) -> Answer | Stream:
        """Check in this order: host, route, size, signature; then serve."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not _LOCAL_HOST.fullmatch(hosts[0]):
            raise Refusal(421, "misdirected", "this server answers to loopback host names only")
        path, _, query = request.raw_path.partition("?")
        route = find_route(
            request.method,
            path,
            alimtalk=self._plugin.find("kakao.alimtalk.send") is not None,
            inbound=webhooks.FEATURE in self._manifest.features,
        )
        limit = batch.MAX_BYTES if route.name == "batch" else self._plugin.body_limit_bytes
        body = await read_body(request, limit)
        if route.signed:
            self._verifier.verify(
                request.headers.items(),
                now=self._clock(),
                method=request.method,
                raw_target=request.raw_path,
                body=body,
            )
        return await self._serve(route, request, body, query.partition("?")[0])

    async def _serve(self, route: Route, request: web.BaseRequest, body: bytes, query: str) -> Answer | Stream:
        """Serve an accepted request."""
        if route.name == "invoke":
            return await self._invoke(unquote(route.argument), request, body)
        if route.name == "batch":
            return Stream(BatchAnswer(read_calls(body), self._start, self._lifecycle.redactor).pieces())
        if route.name in ("send", "alimtalk"):
            return await self._send(route, request, body, query)
        if route.name == "inbound":
            return await self._inbound(body)
        if route.name == "cancel":
            cancelled = self._invocations.cancel(unquote(route.argument))
            return answers.success({"result": {"cancelled": cancelled}}, 202)
        if route.name == "shutdown":
            self._on_shutdown()
            return answers.success({"result": {"draining": True}}, 202)
        return await self._status.answer(route.name)

    async def _invoke(self, name: str, request: web.BaseRequest, body: bytes) -> Answer:
        """Serve POST /v1/invoke/{capability}."""
        capability, given = self._read(name, body)
        outcome = await self._invocations.invoke(capability, given, read_call(request.headers), body)
        return answers.invoked(outcome, self._lifecycle.redactor)

    async def _inbound(self, body: bytes) -> Answer:
        """Serve POST /v1/inbound: the Runner's decisions in, the events that wait for one out."""
        document = body_object(body, self._plugin.body_limit_bytes)
        try:
            contracts.validate(document, "inbound-call-v1")
        except ContractError as error:
            raise InvalidRequest(str(error), details=error.details) from None
        events = await self._inbox.ask(document["stored"], document["refused"])
        return answers.success({"result": {"events": events}})

    def _start(self, call: CallLine, ended: Ended) -> Answer | None:
        """Start one call of a batch, or answer why not."""
        try:
            capability, given = self._read(call.capability, call.body)
            self._invocations.start(capability, given, call.call(), call.body, ended)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one call concerns no other
            return self._failed(error)
        return None

    def _read(self, name: str, body: bytes) -> tuple[Capability, BaseModel]:
        """Find the capability and read its input."""
        capability = self._plugin.find(name)
        if capability is None:
            known = ", ".join(spec.name for spec in self._manifest.capabilities)
            raise Refusal(404, "unsupported_capability", f"no capability {name[:128]!r}; this plugin has {known}")
        body_object(body, self._plugin.body_limit_bytes)
        self._lifecycle.require_config()
        return capability, capability.read(body)

    async def _send(self, route: Route, request: web.BaseRequest, body: bytes, query: str) -> Answer:
        """Serve POST /send and the original's other routes."""
        capability = self._plugin.channel if route.name == "send" else self._plugin.find("kakao.alimtalk.send")
        if capability is None:
            raise Refusal(404, "unsupported_capability", f"plugin {self._plugin.name!r} has no channel capability")
        document = body_object(body, self._plugin.body_limit_bytes)
        self._lifecycle.require_config()
        given = self._accept(capability, document, body)
        outcome = await self._invocations.invoke(capability, given, read_call(request.headers), body)
        answer = answers.sent(outcome, self._lifecycle.redactor)
        delay = _DELAY.search(query)
        if delay is not None and self._lifecycle.dry_run:
            await asyncio.sleep(min(int(delay[1]), MAX_DELAY_MS) / 1000)
        return answer

    def _accept(self, capability: Capability, document: dict[str, Any], body: bytes) -> BaseModel:
        """Make the input of an alias route's body, through the author's mapping where there is one."""
        if capability.accept is None:
            return capability.read(body)
        try:
            mapped = capability.accept(document)
            written = answers.dump(dict(mapped)) if isinstance(mapped, Mapping) else b""
        except ValidationError as error:
            raise refused_mapping(error) from None
        except PluginError:
            raise
        except Exception as error:  # noqa: BLE001 - author code; nothing was sent yet
            self._sink(LogRecord("error", "".join(traceback.format_exception(error))))
            raise Refusal(500, "runtime_error", type(error).__name__) from None
        if isinstance(mapped, capability.input_model):
            return mapped
        if written:
            return capability.read(written)
        text = f"accept returned {type(mapped).__name__}"
        raise Refusal(500, "invalid_plugin", text)
