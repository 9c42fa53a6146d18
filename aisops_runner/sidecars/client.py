"""Signed HTTP calls to one running sidecar, over kept-alive loopback connections.

The client knows how far a call got: a call that never reached the sidecar may be repeated safely, one whose request was
written but not answered is ambiguous.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import hdrs
from yarl import URL

from aisops_plugin_sdk import json_strict, signing
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_plugin_sdk.server import call_headers
from aisops_runner.adapters.calls import Call, CallError
from aisops_runner.clock import Clock
from aisops_runner.sidecars.answers import ANSWER_BYTES, bad_answer, read_answer

CONNECT_S = 2.0
HEALTH_S = 2.0
SMALL_BYTES = 64 * 1024
UNREACHABLE = "sidecar_unreachable"
DIED = "sidecar_died"
GONE_CODES = frozenset({UNREACHABLE, DIED})
"""Errors after which the process has probably ended."""


class SidecarClient:
    """Calls one sidecar; `close` ends every call in flight.

    Args:
        port: Where it listens on 127.0.0.1.
        token: Signs every call.
        clock: For timestamps and deadlines.
    """

    def __init__(self, port: int, token: str, clock: Clock) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._token = token
        self._clock = clock
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_mark_sent)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=False, keepalive_timeout=30),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=[trace],
            skip_auto_headers=(hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT),
        )

    async def close(self) -> None:
        """Close all connections; calls in flight end at once, as calls whose answer did not come."""
        await self._session.close()

    async def invoke(self, call: Call, timeout_s: float) -> bytes | CallError:
        """Run one call.

        Args:
            call: What to run.
            timeout_s: Seconds until the answer must be complete.

        Returns:
            The result (JSON) or the error; never raises but CancelledError.
        """
        target = f"/v1/invoke/{call.capability}"
        headers = {
            call_headers.TENANT_HEADER: call.tenant_id,
            call_headers.RUNNER_HEADER: call.runner_id,
            call_headers.JOB_HEADER: call.job_id,
            call_headers.ATTEMPT_HEADER: str(call.attempt),
            call_headers.DEADLINE_HEADER: str(self._clock.unix_ms() + int(timeout_s * 1000)),
            call_headers.IDEMPOTENCY_HEADER: call.effect_key,
        }
        optional = (
            (call_headers.EXECUTION_HEADER, call.execution_id),
            (call_headers.STEP_HEADER, call.step_id),
            ("traceparent", call.traceparent),
        )
        headers.update((name, value) for name, value in optional if value)
        phase = SimpleNamespace(sent=False)
        try:
            status, content_type, body = await self._exchange(
                "POST", target, call.input, timeout_s=timeout_s, limit=ANSWER_BYTES, headers=headers, phase=phase
            )
        except TimeoutError:
            if phase.sent:
                return CallError("timeout", f"no answer within {timeout_s:g} s", ambiguous=True)
            return CallError(UNREACHABLE, "the sidecar did not take the connection in time", retryable=True)
        except _Unusable as error:
            return bad_answer(str(error), ambiguous=not 400 <= error.status < 500)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _transport_error(error, sent=phase.sent)
        return read_answer(status, content_type, body)

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

    async def shutdown(self) -> bool:
        """Ask the sidecar to drain and exit; whether it agreed."""
        document = await self._small("POST", "/v1/shutdown")
        return document is not None and document.get("ok") is True

    async def _small(self, method: str, target: str, *, signed: bool = True) -> dict[str, Any] | None:
        body = b"{}" if method == "POST" else b""
        with contextlib.suppress(
            TimeoutError, aiohttp.ClientError, OSError, ValueError, _Unusable, JsonRefused, JsonTooLarge
        ):
            _, _, answer = await self._exchange(
                method, target, body, timeout_s=HEALTH_S, limit=SMALL_BYTES, signed=signed
            )
            document = json_strict.loads(answer, limit_bytes=SMALL_BYTES)
            return document if isinstance(document, dict) else None
        return None

    async def _exchange(
        self,
        method: str,
        target: str,
        body: bytes,
        *,
        timeout_s: float,
        limit: int,
        headers: dict[str, str] | None = None,
        signed: bool = True,
        phase: SimpleNamespace | None = None,
    ) -> tuple[int, str, bytes]:
        all_headers = dict(headers or {})
        if signed:
            now, nonce = self._clock.unix_ms() / 1000, secrets.token_hex(16)
            all_headers |= signing.headers(
                self._token, now=now, method=method, raw_target=target, body=body, nonce=nonce
            )
        async with asyncio.timeout(timeout_s):
            async with self._session.request(
                method,
                URL(self._base + target, encoded=True),
                data=body or None,
                headers=all_headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                trace_request_ctx=phase,
            ) as response:
                return response.status, response.content_type, await _read(response, limit)


class _Unusable(Exception):
    """The answer cannot even be read to its end."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    if 300 <= response.status < 400:
        raise _Unusable(response.status, f"HTTP {response.status} redirect, which is never followed")
    if response.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise _Unusable(response.status, "it is compressed, which nobody asked for")
    if response.content_length is not None and response.content_length > limit:
        raise _Unusable(response.status, f"{response.content_length} bytes, more than {limit}")
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise _Unusable(response.status, f"more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def _transport_error(error: Exception, *, sent: bool) -> CallError:
    name = type(error).__name__
    if not sent:
        return CallError(UNREACHABLE, f"the sidecar cannot be reached ({name})", retryable=True)
    if isinstance(error, (aiohttp.ServerDisconnectedError, ConnectionError, aiohttp.ClientOSError)):
        return CallError(DIED, "the sidecar went away before it answered", ambiguous=True)
    return bad_answer(f"not HTTP ({name})", ambiguous=True)


async def _mark_sent(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    phase = getattr(context, "trace_request_ctx", None)
    if phase is not None:
        phase.sent = True
