"""Calls of an original plugin over HTTP, run by us or elsewhere: each capability has a route of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from aisops_runner.adapters.calls import Call, CallError
from aisops_runner.adapters.foreign.routes import missing, request, several
from aisops_runner.adapters.kinds import Foreign
from aisops_runner.clock import Clock
from aisops_runner.sidecars.answers import ANSWER_BYTES, unanswered
from aisops_runner.sidecars.calling import SignedHttp, facts_of
from aisops_runner.sidecars.foreign.answers import read_http
from aisops_runner.sidecars.foreign.calls_under_way import CallsUnderWay
from aisops_runner.sidecars.replies import BatchReply, Ended, WholeReply

SPARE_S: Final = 1.0
"""The reply keeps the time of a call; the count of calls only has to outlast it."""


class ForeignClient:
    """Calls one plugin; `close` ends every call in flight.

    Args:
        http: The way to it.
        foreign: Its routes.
        clock: For deadlines.
        prefix: What stands before every path.
        unset: Variables that its manifest requires and nobody set.
    """

    def __init__(
        self, http: SignedHttp, foreign: Foreign, clock: Clock, *, prefix: str = "", unset: Sequence[str] = ()
    ) -> None:
        self._http = http
        self._routes: Mapping[str, str] = foreign.routes
        self._clock = clock
        self._prefix = prefix
        self._unset = tuple(unset)
        self._under_way = CallsUnderWay()
        self._made = 0

    def start(self, call: Call, timeout_s: float, ended: Ended) -> Callable[[], None]:
        """Run one call; returns at once with what gives it up. What the plugin's contract refuses is not sent."""
        if refusal := missing(call.capability, call.input):
            asyncio.get_running_loop().call_soon(ended, [(call, CallError("invalid_request", refusal))])
            return _nothing
        path, body = request(call.capability, call.input, self._routes)
        self._made += 1
        identity = str(self._made)
        reply = WholeReply(ANSWER_BYTES, timeout_s, partial(self._told, identity, call, timeout_s))
        self._under_way.begin(identity, call, ended, timeout_s=timeout_s + SPARE_S, late=_nothing)
        headers = facts_of(call, self._clock.unix_ms() + int(timeout_s * 1000))
        self._http.send("POST", self._prefix + path, body, reply, headers)

        def give_up() -> None:
            self._under_way.give_up(identity)
            reply.abandon()

        return give_up

    def start_batch(self, calls: Sequence[tuple[Call, float]], ended: Ended) -> BatchReply:
        """Never called: the original has no batches, and no manifest made here says otherwise."""
        raise NotImplementedError

    async def healthy(self) -> bool:
        """Whether POST /probe answers `ok`. Not asked during a call: some plugins do one thing at a time."""
        if len(self._under_way):
            return True
        document = await self._http.ask("POST", f"{self._prefix}/probe", signed=False)
        return document is not None and document.get("ok") is True

    async def readiness(self) -> str:
        """What is missing; GET /healthz tells of a provider's token, where the plugin has that route."""
        if self._unset:
            return unset_text(self._unset)
        if len(self._under_way):
            return ""
        document = await self._http.ask("GET", f"{self._prefix}/healthz", signed=False)
        degraded = document is not None and document.get("status") == "degraded"
        return "the plugin says that it is degraded; its provider's token may be missing" if degraded else ""

    async def cancel(self, job_id: str) -> None:
        """The original has no word for that."""

    async def shutdown(self, drain_s: float) -> bool:
        """Let the calls under way end; the plugin has no route that tells it to leave."""
        await self._under_way.drained(drain_s)
        return False

    async def close(self) -> None:
        """Close all connections; calls in flight end at once, as calls whose answer did not come."""
        self._http.close()

    def _told(self, identity: str, call: Call, timeout_s: float, reply: WholeReply, failure: Exception | None) -> None:
        if failure is not None:
            self._under_way.end(identity, unanswered(failure, sent=reply.sent, timeout_s=timeout_s))
            return
        many = several(call.capability, call.input)
        self._under_way.end(identity, read_http(reply.status, reply.content_type, reply.content, several=many))


def unset_text(names: Sequence[str]) -> str:
    """Why a plugin may not be able to serve: variables it requires are not set."""
    return f"not set, and required by its manifest: {', '.join(names)}; set them under [plugins.NAME.env]"


def _nothing() -> None:
    return
