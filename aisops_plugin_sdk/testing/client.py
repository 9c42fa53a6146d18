"""A signing client for a sidecar on loopback, as tests and the `check` command use it."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import aiohttp
from yarl import URL

from aisops_plugin_sdk import batch, signing
from aisops_plugin_sdk.server.call_headers import (
    ATTEMPT_HEADER,
    DEADLINE_HEADER,
    IDEMPOTENCY_HEADER,
    JOB_HEADER,
    RUNNER_HEADER,
    TENANT_HEADER,
)

CALL_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sidecar answered. `document` is the whole JSON body; the properties read its usual keys."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """Whether it reports success."""
        return self.document.get("ok") is True

    @property
    def result(self) -> dict[str, Any]:
        """The result of a successful call; empty otherwise."""
        result = self.document.get("result")
        return result if isinstance(result, dict) else {}

    @property
    def error(self) -> str:
        """The error's text; empty on success."""
        return str(self.document.get("error") or "")

    @property
    def code(self) -> str:
        """The error's code; empty on success."""
        return str(self.document.get("code") or "")

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.document.get("retryable") is True

    @property
    def retry_after_ms(self) -> int | None:
        """Earliest sensible repetition in milliseconds."""
        return self.document.get("retry_after_ms")

    @property
    def ambiguous(self) -> bool:
        """Whether the effect may have happened although no success was seen."""
        return self.document.get("ambiguous") is True

    @property
    def details(self) -> list[dict[str, str]]:
        """The precise complaints of an error."""
        details = self.document.get("details")
        return details if isinstance(details, list) else []


class SidecarClient:
    """Calls one sidecar. An async context manager.

    Args:
        port: where it listens on 127.0.0.1.
        token: its internal token; None signs nothing.
    """

    def __init__(self, port: int, token: str | None) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def invoke(
        self,
        capability: str,
        given: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        job_id: str = "job-1",
        tenant_id: str = "t_default",
        runner_id: str = "runner-1",
        attempt: int = 1,
        deadline_s: float | None = None,
    ) -> Answer:
        """Call a capability as the Runner does. `deadline_s` is seconds from now."""
        headers = {
            JOB_HEADER: job_id,
            TENANT_HEADER: tenant_id,
            RUNNER_HEADER: runner_id,
            ATTEMPT_HEADER: str(attempt),
        }
        if idempotency_key is not None:
            headers[IDEMPOTENCY_HEADER] = idempotency_key
        if deadline_s is not None:
            headers[DEADLINE_HEADER] = str(round((time.time() + deadline_s) * 1000))
        return await self.post(f"/v1/invoke/{capability}", given, headers=headers)

    async def send(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Answer:
        """Call POST /send as the original product does."""
        headers = {} if idempotency_key is None else {IDEMPOTENCY_HEADER: idempotency_key}
        return await self.post("/send", body, headers=headers)

    async def batch(self, calls: Sequence[Mapping[str, Any]]) -> dict[str, Answer]:
        """Make many calls in one request; returns their answers by id.

        Args:
            calls: each with `id`, `capability`, `input` and any of the facts (`job_id`, `idempotency_key`, …).

        Raises:
            AssertionError: the batch as a whole was refused, or its answer is not one line for each call.
        """
        body = b"".join(_call_line(call) for call in calls)
        raw = await self.raw("POST", batch.TARGET, body, content_type=batch.CONTENT_TYPE)
        found = [batch.read_answer(line) for line in raw.body.split(b"\n") if line]
        if raw.status != 200 or None in found:
            raise AssertionError(f"the batch was answered {raw.status}: {raw.body[:200]!r}")
        answers = {one[0]: Answer(one[1], _document(one[2], one[1]), body=one[2]) for one in found if one}
        if sorted(answers) != sorted(str(call["id"]) for call in calls) or len(answers) != len(found):
            raise AssertionError(f"the answers are for {sorted(answers)}")
        return answers

    async def cancel(self, job_id: str) -> Answer:
        """Cancel the calls of a job."""
        return await self.post(f"/v1/cancel/{job_id}")

    async def post(
        self,
        target: str,
        body: Mapping[str, Any] | bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
        now: float | None = None,
    ) -> Answer:
        """Send POST. A mapping is written as JSON, bytes go as they are; `now` replaces the clock (unix seconds)."""
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return await self.request("POST", target, raw, headers=headers, signed=signed, now=now)

    async def get(
        self, target: str, *, headers: Mapping[str, str] | None = None, signed: bool = True, now: float | None = None
    ) -> Answer:
        """Send GET."""
        return await self.request("GET", target, b"", headers=headers, signed=signed, now=now)

    async def request(
        self,
        method: str,
        target: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
        now: float | None = None,
    ) -> Answer:
        """Send any request; `target` goes as given, percent-encoding included. Given headers win over signed ones.

        Raises:
            AssertionError: the answer is not a JSON object, which the contract forbids.
        """
        answer = await self.raw(method, target, body, headers=headers, signed=signed, now=now)
        return replace(answer, document=_document(answer.body, answer.status))

    async def raw(
        self,
        method: str,
        target: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
        now: float | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """As `request`, for an answer that need not be a JSON object: `document` stays empty.

        Raises:
            RuntimeError: outside of the `async with` block.
        """
        if self._session is None:
            raise RuntimeError("use `async with`")
        sent: dict[str, str] = {}
        if signed and self._token is not None:
            sent |= signing.headers(
                self._token,
                now=time.time() if now is None else now,
                method=method,
                raw_target=target,
                body=body,
                nonce=secrets.token_hex(16),
            )
        sent |= {"Content-Type": content_type} | dict(headers or {})
        url = URL(self._base + target, encoded=True)
        async with self._session.request(method, url, data=body or None, headers=sent) as response:
            raw = await response.read()
            return Answer(response.status, {}, dict(response.headers), raw)


def _call_line(call: Mapping[str, Any]) -> bytes:
    """Write a call with its input last."""
    facts = {name: value for name, value in call.items() if name not in ("id", "capability", "input")}
    given = json.dumps(call["input"], ensure_ascii=False).encode()
    return batch.write_call(str(call["id"]), str(call["capability"]), facts, given)


def _document(raw: bytes, status: int) -> dict[str, Any]:
    """Read the body, which must be a JSON object whatever the status."""
    try:
        document = json.loads(raw)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise AssertionError(f"answer with status {status} is not a JSON object: {raw[:200]!r}")  # noqa: TRY004
    return document
