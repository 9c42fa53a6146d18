"""Signed HTTP calls to one running sidecar, over kept loopback connections: one by one, or many in one batch.

The client knows how far a call got: a call that never reached the sidecar may be repeated safely, one whose request was
written but not answered is ambiguous.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aisops_plugin_sdk import batch, json_strict, signing
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_plugin_sdk.server import call_headers
from aisops_runner.adapters.calls import Call, CallError
from aisops_runner.clock import Clock
from aisops_runner.sidecars.answers import ANSWER_BYTES, DIED, UNREACHABLE, read_answer, unanswered
from aisops_runner.sidecars.http import Connections, NotHttp
from aisops_runner.sidecars.replies import BatchReply, Ended, WholeReply

HEALTH_S = 2.0
SMALL_BYTES = 64 * 1024
INBOUND_BYTES = 1024 * 1024
INBOUND_S = 30.0
"""Longer than a sidecar lets the question wait."""
GONE_CODES: Final = frozenset({UNREACHABLE, DIED})
"""Errors after which the process has probably ended."""
_VISIBLE = re.compile(r"[\x21-\x7e]*", re.ASCII)


class SidecarClient:
    """Calls one sidecar; `close` ends every call in flight.

    Args:
        port: Where it listens on 127.0.0.1.
        token: Signs every call.
        clock: For timestamps and deadlines.
    """

    def __init__(self, port: int, token: str, clock: Clock) -> None:
        self._host = f"127.0.0.1:{port}"
        self._token = token
        self._clock = clock
        self._connections = Connections(port)

    async def close(self) -> None:
        """Close all connections; calls in flight end at once, as calls whose answer did not come."""
        self._connections.close()

    async def invoke(self, call: Call, timeout_s: float) -> bytes | CallError:
        """Run one call.

        Args:
            call: What to run.
            timeout_s: Seconds until the answer must be complete.

        Returns:
            The result (JSON) or the error; never raises but CancelledError.
        """
        waiter: asyncio.Future[bytes | CallError] = asyncio.get_running_loop().create_future()
        abandon = self.start(call, timeout_s, lambda ended: _resolve(waiter, ended[0][1]))
        try:
            return await waiter
        except asyncio.CancelledError:
            abandon()
            raise

    def start(self, call: Call, timeout_s: float, ended: Ended) -> Callable[[], None]:
        """Run one call; returns at once.

        Args:
            call: What to run.
            timeout_s: Seconds until the answer must be complete.
            ended: Told the result (JSON) or the error, once, later.

        Returns:
            What to call to give the call up; `ended` is not told then.
        """
        headers = {
            call_headers.TENANT_HEADER: call.tenant_id,
            call_headers.RUNNER_HEADER: call.runner_id,
            call_headers.JOB_HEADER: call.job_id,
            call_headers.ATTEMPT_HEADER: str(call.attempt),
            call_headers.DEADLINE_HEADER: str(self._deadline_ms(timeout_s)),
            call_headers.IDEMPOTENCY_HEADER: call.effect_key,
            call_headers.EXECUTION_HEADER: call.execution_id,
            call_headers.STEP_HEADER: call.step_id,
            call_headers.TRACE_HEADER: _trace(call),
        }
        reply = WholeReply(ANSWER_BYTES, timeout_s, partial(_tell, call, timeout_s, ended))
        self._send("POST", f"/v1/invoke/{call.capability}", call.input, reply, headers)
        return reply.abandon

    def start_batch(self, calls: Sequence[tuple[Call, float]], ended: Ended) -> BatchReply:
        """Run calls in one request; returns at once.

        Args:
            calls: What to run, each with the seconds until its answer must have come; at most `batch.MAX_CALLS`.
            ended: Told results and errors as they come, several at a time, each call once.

        Returns:
            The reply under way: it gives single calls up.
        """
        lines = [self._line(str(number), call, timeout_s) for number, (call, timeout_s) in enumerate(calls)]
        reply = BatchReply(calls, ended)
        self._send("POST", batch.TARGET, b"".join(lines), reply, {"Content-Type": batch.CONTENT_TYPE})
        return reply

    def _line(self, identity: str, call: Call, timeout_s: float) -> bytes:
        facts: dict[str, str | int] = {
            "tenant_id": call.tenant_id,
            "runner_id": call.runner_id,
            "job_id": call.job_id,
            "attempt": call.attempt,
            "deadline_ms": self._deadline_ms(timeout_s),
            "idempotency_key": call.effect_key,
        }
        if call.execution_id:
            facts |= {"execution_id": call.execution_id, "step_id": call.step_id}
        if call.traceparent and (trace := _trace(call)):
            facts["traceparent"] = trace
        return batch.write_call(identity, call.capability, facts, call.input)

    async def healthy(self) -> bool:
        """Whether GET /healthz answers `ok` in time."""
        document = await self._small("GET", "/healthz", signed=False)
        return document is not None and document.get("ok") is True

    async def readiness(self) -> str:
        """Why the plugin cannot serve its provider now (GET /readyz); empty when it can, or does not say."""
        document = await self._small("GET", "/readyz", signed=False)
        if document is None or document.get("ok") is not False:
            return ""
        return str(document.get("error") or document.get("code") or "not ready")[:500]

    async def cancel(self, job_id: str) -> None:
        """Ask a job's call to stop; best effort."""
        await self._small("POST", f"/v1/cancel/{job_id}")

    async def inbound(self, stored: Sequence[str], refused: Sequence[str]) -> dict[str, Any] | None:
        """Ask for events of the plugin's webhooks, and say what became of the last ones; waits until there are some.

        Args:
            stored: Ids of events that are on the disk.
            refused: Ids of events that could not be stored.

        Returns:
            The answer, not yet checked; None when there was none.
        """
        body = json.dumps({"stored": list(stored), "refused": list(refused)}).encode()
        return await self._exchange("POST", "/v1/inbound", body, INBOUND_BYTES, INBOUND_S)

    async def shutdown(self) -> bool:
        """Ask the sidecar to drain and exit; whether it agreed."""
        document = await self._small("POST", "/v1/shutdown")
        return document is not None and document.get("ok") is True

    async def _small(self, method: str, target: str, *, signed: bool = True) -> dict[str, Any] | None:
        """One small exchange; None when its answer is not a JSON object."""
        body = b"{}" if method == "POST" else b""
        return await self._exchange(method, target, body, SMALL_BYTES, HEALTH_S, signed=signed)

    async def _exchange(
        self, method: str, target: str, body: bytes, limit_bytes: int, timeout_s: float, *, signed: bool = True
    ) -> dict[str, Any] | None:
        """One exchange whose answer is a JSON object; None when it is not."""
        done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        reply = WholeReply(limit_bytes, timeout_s, lambda _, failure: _resolve(done, failure))
        self._send(method, target, body, reply, signed=signed)
        try:
            if await done is not None:
                return None
        except asyncio.CancelledError:
            reply.abandon()
            raise
        with contextlib.suppress(JsonRefused, JsonTooLarge):
            document = json_strict.loads(reply.content, limit_bytes=limit_bytes)
            return document if isinstance(document, dict) else None
        return None

    def _send(
        self,
        method: str,
        target: str,
        body: bytes,
        reply: WholeReply | BatchReply,
        headers: Mapping[str, str] | None = None,
        *,
        signed: bool = True,
    ) -> None:
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

    def _deadline_ms(self, timeout_s: float) -> int:
        return self._clock.unix_ms() + int(timeout_s * 1000)


def _trace(call: Call) -> str:
    """The trace context; none when it would not be one (it comes from outside and decides nothing)."""
    if not call.traceparent:
        return ""
    return call.traceparent if _VISIBLE.fullmatch(call.traceparent) and len(call.traceparent) < 256 else ""


def _tell(call: Call, timeout_s: float, ended: Ended, reply: WholeReply, failure: Exception | None) -> None:
    if failure is None:
        ended([(call, read_answer(reply.status, reply.content_type, reply.content))])
    else:
        ended([(call, unanswered(failure, sent=reply.sent, timeout_s=timeout_s))])


def _resolve(waiter: asyncio.Future[Any], value: object) -> None:
    if not waiter.done():
        waiter.set_result(value)
