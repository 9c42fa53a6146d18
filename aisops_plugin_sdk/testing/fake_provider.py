"""`FakeProvider`: a scripted HTTP server that stands in for the provider a plugin talks to.

It answers each request with the next scripted step and records what it received. Steps can also rate-limit, hang, drop
the connection before or in the middle of an answer: the faults a plugin must tell apart.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Received:
    """One request as the provider received it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Step:
    """One scripted reaction: an answer, or a fault (`hang`, `drop`, `half`: part of the answer, then the end)."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


class FakeProvider:
    """Serves scripted answers on 127.0.0.1. An async context manager.

    Without a step left, a path answers what `always` set for it, else 404 with `{"error":"unscripted"}`.

    Attributes:
        requests: everything received, in order.
        url: where it listens, without a trailing slash.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.url = ""
        self._steps: dict[str, deque[Step]] = {}
        self._always: dict[str, Step] = {}
        self._came = asyncio.Condition()
        self._hanging = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Listen no longer, and let go of what hangs."""
        self._hanging.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def answer(
        self, path: str, document: Any = None, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> "FakeProvider":
        """Answer the next request to a path with JSON (or with bytes, as they are)."""
        return self._script(path, _step(document, status, headers))

    def always(
        self, path: str, document: Any = None, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> "FakeProvider":
        """Answer every request to a path for which no step is left."""
        self._always[path] = _step(document, status, headers)
        return self

    def rate_limit(self, path: str, retry_after_s: int = 1, document: Any = None) -> "FakeProvider":
        """Answer the next request with 429 and a Retry-After header in seconds."""
        return self._script(path, _step(document or {}, 429, {"Retry-After": str(retry_after_s)}))

    def hang(self, path: str) -> "FakeProvider":
        """Receive the next request and never answer."""
        return self._script(path, Step(fault="hang"))

    def drop(self, path: str) -> "FakeProvider":
        """Receive the next request and close the connection without an answer."""
        return self._script(path, Step(fault="drop"))

    def half(self, path: str, document: Any = None) -> "FakeProvider":
        """Send the beginning of an answer, then close the connection."""
        return self._script(path, Step(body=_step(document or {}, 200, None).body, fault="half"))

    def to(self, path: str) -> list[Received]:
        """List what was received at a path."""
        return [request for request in self.requests if request.path == path]

    async def received(self, count: int = 1) -> list[Received]:
        """Wait until so many requests came, and list them all."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    def _script(self, path: str, step: Step) -> "FakeProvider":
        """Append a step."""
        self._steps.setdefault(path, deque()).append(step)
        return self

    def _next(self, path: str) -> Step:
        """Take the step for a request."""
        steps = self._steps.get(path)
        if steps:
            return steps.popleft()
        return self._always.get(path) or _step({"error": "unscripted", "path": path}, 404, None)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Record a request and play its step."""
        body = await request.read()
        step = self._next(request.path)
        received = Received(request.method, request.path, dict(request.query), dict(request.headers), body)
        async with self._came:
            self.requests.append(received)
            self._came.notify_all()
        if step.fault == "hang":
            await self._hanging.wait()
        if step.fault == "half":
            await self._half(request, step.body)
        if step.fault:
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        return web.Response(status=step.status, body=step.body, headers=dict(step.headers))

    async def _half(self, request: web.BaseRequest, body: bytes) -> None:
        """Promise more than is sent."""
        response = web.StreamResponse(headers={"Content-Length": str(len(body) + 100)})
        await response.prepare(request)
        await response.write(body)


def _step(document: Any, status: int, headers: Mapping[str, str] | None) -> Step:
    """Make an answering step."""
    if isinstance(document, bytes):
        return Step(status, document, headers or {})
    body = json.dumps({} if document is None else document, ensure_ascii=False).encode()
    return Step(status, body, {"Content-Type": "application/json", **(headers or {})})
