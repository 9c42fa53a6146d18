"""Signed HTTP calls to one running sidecar, over kept loopback connections: one by one, or many in one batch.

The client knows how far a call got: a call that never reached the sidecar may be repeated safely, one whose request was
written but not answered is ambiguous.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from aisops_plugin_sdk import batch
from aisops_runner.adapters.calls import Call, CallError
from aisops_runner.clock import Clock
from aisops_runner.sidecars.answers import ANSWER_BYTES, DIED, UNREACHABLE, read_answer, unanswered
from aisops_runner.sidecars.calling import SignedHttp, facts_of, trace_of
from aisops_runner.sidecars.http import Connections
from aisops_runner.sidecars.replies import BatchReply, Ended, WholeReply

GONE_CODES: Final = frozenset({UNREACHABLE, DIED})
"""Errors after which the process has probably ended."""


class SidecarClient:
    """Calls one sidecar; `close` ends every call in flight.

    Args:
        port: Where it listens on 127.0.0.1.
        token: Signs every call.
        clock: For timestamps and deadlines.
    """

    def __init__(self, port: int, token: str, clock: Clock) -> None:
        self._clock = clock
        self._http = SignedHttp(Connections(port), f"127.0.0.1:{port}", token, clock)

    async def close(self) -> None:
        """Close all connections; calls in flight end at once, as calls whose answer did not come."""
        self._http.close()

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
        reply = WholeReply(ANSWER_BYTES, timeout_s, partial(_tell, call, timeout_s, ended))
        headers = facts_of(call, self._deadline_ms(timeout_s))
        self._http.send("POST", f"/v1/invoke/{call.capability}", call.input, reply, headers)
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
        self._http.send("POST", batch.TARGET, b"".join(lines), reply, {"Content-Type": batch.CONTENT_TYPE})
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
        if call.traceparent and (trace := trace_of(call)):
            facts["traceparent"] = trace
        return batch.write_call(identity, call.capability, facts, call.input)

    async def healthy(self) -> bool:
        """Whether GET /healthz answers `ok` in time."""
        document = await self._http.ask("GET", "/healthz", signed=False)
        return document is not None and document.get("ok") is True

    async def readiness(self) -> str:
        """Why the plugin cannot serve its provider now (GET /readyz); empty when it can, or does not say."""
        document = await self._http.ask("GET", "/readyz", signed=False)
        if document is None or document.get("ok") is not False:
            return ""
        return str(document.get("error") or document.get("code") or "not ready")[:500]

    async def cancel(self, job_id: str) -> None:
        """Ask a job's call to stop; best effort."""
        await self._http.ask("POST", f"/v1/cancel/{job_id}")

    async def shutdown(self, drain_s: float) -> bool:
        """Ask the sidecar to drain and exit; whether it agreed. It takes its own time for the calls in flight."""
        document = await self._http.ask("POST", "/v1/shutdown")
        return document is not None and document.get("ok") is True

    def _deadline_ms(self, timeout_s: float) -> int:
        return self._clock.unix_ms() + int(timeout_s * 1000)


def _tell(call: Call, timeout_s: float, ended: Ended, reply: WholeReply, failure: Exception | None) -> None:
    if failure is None:
        ended([(call, read_answer(reply.status, reply.content_type, reply.content))])
    else:
        ended([(call, unanswered(failure, sent=reply.sent, timeout_s=timeout_s))])


def _resolve(waiter: asyncio.Future[Any], value: object) -> None:
    if not waiter.done():
        waiter.set_result(value)
