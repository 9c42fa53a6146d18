"""Serves webhooks: verified, handed to the author's function, and answered when the Runner has stored what it told."""

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

from aiohttp import web

from aisops_plugin_sdk.errors import InvalidRequest, PluginError
from aisops_plugin_sdk.events import build_event
from aisops_plugin_sdk.logs import LogRecord, LogSink
from aisops_plugin_sdk.server.answers import Answer, Refusal
from aisops_plugin_sdk.server.body import read_body
from aisops_plugin_sdk.server.inbox import Decision, Inbox
from aisops_plugin_sdk.server.lifecycle import Lifecycle
from aisops_plugin_sdk.webhooks import Inbound, Webhook, WebhookReply, WebhookRequest, check_key

RETRY_AFTER_S = 5
ANSWER_S = 2.7
"""How long a provider waits for us altogether; Slack gives up after three seconds."""
HANDLER_S = 2.0
MAX_REQUESTS = 64
_TEXT = "text/plain; charset=utf-8"
_SAID = frozenset({"not_stored", "busy", "timeout", "draining"})
_UNSTORED = {
    Decision.REFUSED: "the event could not be stored; send it again",
    Decision.LATE: "the event was not stored in time; send it again",
    Decision.NOBODY: "nobody stores events now; send it again",
    Decision.FULL: "too many events wait to be stored; send it again",
}


class Webhooks:
    """The webhooks of one sidecar.

    Args:
        lifecycle: gives contexts and says whether requests can be taken.
        inbox: holds events for the Runner.
        sink: where failures of plugin code are logged.
        clock: unix seconds.
    """

    def __init__(self, lifecycle: Lifecycle, inbox: Inbox, *, sink: LogSink, clock: Callable[[], float]) -> None:
        self._lifecycle = lifecycle
        self._inbox = inbox
        self._sink = sink
        self._clock = clock
        self._requests = 0

    async def answer(self, webhook: Webhook, request: web.BaseRequest) -> Answer:
        """Answer one request of a provider, in plain text."""
        if self._requests >= MAX_REQUESTS:
            return self._refusal(Refusal(503, "busy", "too many requests at once; send it again"))
        self._requests += 1
        try:
            return await self._answer(webhook, request)
        except PluginError as error:
            return self._refusal(error)
        finally:
            self._requests -= 1

    async def _answer(self, webhook: Webhook, request: web.BaseRequest) -> Answer:
        if request.method != "POST":
            raise Refusal(405, "method_not_allowed", "this path takes POST")
        body = await read_body(request, self._lifecycle.plugin.body_limit_bytes)
        until = asyncio.get_running_loop().time() + ANSWER_S
        self._lifecycle.require_open()
        path, _, query = request.raw_path.partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = await self._run(webhook, WebhookRequest(request.method, path, query, headers, body))
        if isinstance(told, WebhookReply):
            return _reply(told)
        left_s = until - asyncio.get_running_loop().time()
        decision = await self._inbox.keep(self._document(webhook, told), left_s)
        if decision is Decision.STORED:
            return _reply(told.reply)
        raise Refusal(503, "not_stored", _UNSTORED[decision], retryable=True, retry_after_s=RETRY_AFTER_S)

    async def _run(self, webhook: Webhook, request: WebhookRequest) -> Inbound | WebhookReply:
        """Verify, then run the author's function."""
        context = self._lifecycle.context()
        try:
            async with asyncio.timeout(HANDLER_S):
                await self._lifecycle.started()
                webhook.verify(context, request)
                told = await self._lifecycle.authored.call(webhook.handler, context, request)
        except PluginError:
            raise
        except TimeoutError:
            self._sink(LogRecord("error", f"webhook {webhook.path}: took longer than {HANDLER_S:g} s"))
            raise Refusal(503, "timeout", "the request took too long; send it again") from None
        except Exception as error:  # noqa: BLE001 - author code; the provider comes again
            self._sink(LogRecord("error", "".join(traceback.format_exception(error))))
            raise Refusal(500, "runtime_error", "the request could not be handled") from None
        if isinstance(told, (Inbound, WebhookReply)):
            return told
        raise self._wrong(webhook, f"returned {type(told).__name__}, not Inbound or WebhookReply")

    def _document(self, webhook: Webhook, told: Inbound) -> dict[str, Any]:
        """What the Runner is given to store."""
        try:
            event = build_event(
                self._lifecycle.plugin.name,
                told.kind,
                told.facts,
                job_id="",
                time_ms=round(self._clock() * 1000),
                redact=self._lifecycle.redactor.text,
            )
            key = check_key(told.key)
        except ValueError as error:
            raise self._wrong(webhook, str(error)) from None
        return {"kind": event.kind, "key": key, "time_ms": event.time_ms, "facts": event.facts}

    def _wrong(self, webhook: Webhook, text: str) -> PluginError:
        self._sink(LogRecord("error", f"webhook {webhook.path}: {text}"))
        return Refusal(500, "invalid_plugin", "the request could not be handled")

    def _refusal(self, error: PluginError) -> Answer:
        status = 400 if isinstance(error, InvalidRequest) else error.http_status
        headers = [("Content-Type", _TEXT)]
        if status == 503:
            headers.append(("Retry-After", str(RETRY_AFTER_S)))
        ours = isinstance(error, Refusal) and error.code in _SAID
        # Whoever asks may be anybody: what went wrong inside is for the log.
        text = self._lifecycle.redactor.text(str(error)) if status < 500 or ours else "not available now"
        return Answer(status, text[:512].encode(), tuple(headers))


def _reply(reply: WebhookReply) -> Answer:
    return Answer(reply.status, reply.body, (("Content-Type", reply.content_type),))


def not_here() -> Answer:
    """Answer a request for anything but a webhook on the listener for webhooks."""
    return Answer(404, b"no such path", (("Content-Type", _TEXT),))
