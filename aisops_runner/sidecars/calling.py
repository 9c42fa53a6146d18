"""Signed requests to one plugin over kept connections: the part that every plugin reached over HTTP has in common."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

from aisops_plugin_sdk import json_strict, signing
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_plugin_sdk.server import call_headers
from aisops_runner.adapters.calls import Call
from aisops_runner.clock import Clock
from aisops_runner.sidecars.http import Connections, NotHttp
from aisops_runner.sidecars.replies import BatchReply, WholeReply

HEALTH_S = 2.0
SMALL_BYTES = 64 * 1024
_VISIBLE = re.compile(r"[\x21-\x7e]*", re.ASCII)


class SignedHttp:
    """Sends requests to one plugin.

    Args:
        connections: The way to it.
        host: For the Host header.
        token: Signs every request.
        clock: For timestamps.
    """

    def __init__(self, connections: Connections, host: str, token: str, clock: Clock) -> None:
        self._connections = connections
        self._host = host
        self._token = token
        self._clock = clock

    def close(self) -> None:
        """Close all connections; requests under way end at once."""
        self._connections.close()

    def send(
        self,
        method: str,
        target: str,
        body: bytes,
        reply: WholeReply | BatchReply,
        headers: Mapping[str, str] | None = None,
        *,
        signed: bool = True,
    ) -> None:
        """Send a request; returns at once, and the reply is told later."""
        given = {"Content-Length": str(len(body))}
        if signed:
            now, nonce = self._clock.unix_ms() / 1000, secrets.token_hex(16)
            given |= signing.headers(self._token, now=now, method=method, raw_target=target, body=body, nonce=nonce)
        given.update(headers or {})
        if not _VISIBLE.fullmatch(target + "".join(given.values())):
            reply.refuse(NotHttp("the call cannot be said in HTTP"))
            return
        lines = [f"{name}: {value}\r\n" for name, value in given.items() if value]
        head = f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\n{''.join(lines)}\r\n"
        reply.begin()
        self._connections.send(head.encode("ascii") + body, reply)

    async def ask(
        self, method: str, target: str, *, signed: bool = True, timeout_s: float = HEALTH_S
    ) -> dict[str, Any] | None:
        """One exchange whose answer is a JSON object; None when it is not. Its status is not looked at."""
        reply, failure = await self.exchange(method, target, signed=signed, timeout_s=timeout_s)
        return None if failure is not None else object_of(reply.content)

    async def exchange(
        self, method: str, target: str, *, signed: bool = True, timeout_s: float = HEALTH_S
    ) -> tuple[WholeReply, Exception | None]:
        """One small exchange: the reply and, when it is not complete, why (TimeoutError, NotHttp, OSError)."""
        done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        reply = WholeReply(SMALL_BYTES, timeout_s, lambda _, failure: _resolve(done, failure))
        body = b"{}" if method == "POST" else b""
        kind = {"Content-Type": "application/json"} if body and not signed else {}
        self.send(method, target, body, reply, kind, signed=signed)
        try:
            return reply, await done
        except asyncio.CancelledError:
            reply.abandon()
            raise


def object_of(content: bytes) -> dict[str, Any] | None:
    """A small answer as a JSON object; None when it is none."""
    with contextlib.suppress(JsonRefused, JsonTooLarge):
        document = json_strict.loads(content, limit_bytes=SMALL_BYTES)
        return document if isinstance(document, dict) else None
    return None


def facts_of(call: Call, deadline_ms: int) -> dict[str, str]:
    """The headers that say for whom and for what a call is made; plugins that do not know them pass over them."""
    return {
        call_headers.TENANT_HEADER: call.tenant_id,
        call_headers.RUNNER_HEADER: call.runner_id,
        call_headers.JOB_HEADER: call.job_id,
        call_headers.ATTEMPT_HEADER: str(call.attempt),
        call_headers.DEADLINE_HEADER: str(deadline_ms),
        call_headers.IDEMPOTENCY_HEADER: call.effect_key,
        call_headers.EXECUTION_HEADER: call.execution_id,
        call_headers.STEP_HEADER: call.step_id,
        call_headers.TRACE_HEADER: trace_of(call),
    }


def trace_of(call: Call) -> str:
    """The trace context; none when it would not be one (it comes from outside and decides nothing)."""
    if not call.traceparent:
        return ""
    return call.traceparent if _VISIBLE.fullmatch(call.traceparent) and len(call.traceparent) < 256 else ""


def _resolve(waiter: asyncio.Future[Exception | None], value: Exception | None) -> None:
    if not waiter.done():
        waiter.set_result(value)
