"""Stands between a Runner and Core and speaks the real protocol to both: frames pass as they are, until one is wanted.

It lets frames through, swallows them or cuts the stream, as a network does that fails at the worst moment; and it can
rewrite them, so that each end takes the other for a program of another version.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from aisops_protocol.codec import METHOD, METHOD_PATH, SERVICE_NAME, decode_core_frame
from aisops_protocol.errors import REASON_METADATA_KEY, RETRY_AFTER_METADATA_KEY
from aisops_protocol.messages import Ack, CoreFrame
from demo.stage import Stage
from tests.chaos.trial import Trial

Lets = Callable[[CoreFrame], bool]
Rewrite = Callable[[bytes], bytes]
PASSED_ON = ("authorization",)
TOLD_BACK = (REASON_METADATA_KEY, RETRY_AFTER_METADATA_KEY)


def acknowledges(frame: CoreFrame) -> bool:
    """Whether a frame tells the Runner that something is committed."""
    return any(isinstance(envelope.body, Ack) for envelope in frame.envelopes)


@dataclass(eq=False)
class Passage:
    """One stream that passes through."""

    cut: asyncio.Event = field(default_factory=asyncio.Event)
    muted: bool = False


class Relay:
    """Listens on loopback for a Runner and dials Core for each stream.

    Attributes:
        port: Where it listens.
        swallowed: Frames from Core that the Runner never got.
        errors: Frames that it could not read or rewrite: a defect of the relay or of who wrote them.
        closed: Every stream is refused.
        up: Rewrites each frame of the Runner.
        down: Rewrites each frame of Core.
    """

    def __init__(self, core_port: int) -> None:
        self.port = 0
        self.swallowed = 0
        self.closed = False
        self.errors: list[str] = []
        self.up: Rewrite = bytes
        self.down: Rewrite = bytes
        self._core_port = core_port
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._passages: set[Passage] = set()
        self._mute_at: Lets | None = None
        self._muted = asyncio.Event()

    async def start(self) -> None:
        """Listen."""
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._connect)
        service = grpc.method_handlers_generic_handler(SERVICE_NAME, {METHOD: handler})
        self._server.add_generic_rpc_handlers([service])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def stop(self) -> None:
        """Cut everything and listen no more."""
        self.cut()
        await self._server.stop(1)

    def cut(self) -> None:
        """Cut every stream, both ways."""
        for passage in self._passages:
            passage.cut.set()

    async def mute(self, at: Lets, patience_s: float = 30.0) -> None:
        """From the next frame of Core that `at` names, let nothing of it through; returns once one was swallowed.

        The Runner is still heard. The silence ends with the stream.

        Raises:
            TimeoutError: No such frame came.
        """
        self._mute_at = at
        self._muted.clear()
        async with asyncio.timeout(patience_s):
            await self._muted.wait()

    async def _connect(self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        if self.closed:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        passage = Passage()
        self._passages.add(passage)
        metadata = tuple((key, value) for key, value in context.invocation_metadata() or () if key in PASSED_ON)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{self._core_port}") as channel:
                connect: Any = channel.stream_stream(METHOD_PATH)
                await self._pass(passage, requests, context, connect(metadata=metadata))
        finally:
            self._passages.discard(passage)

    async def _pass(
        self,
        passage: Passage,
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, bytes],
        call: Any,
    ) -> None:
        up = asyncio.create_task(self._up(passage, requests, call))
        down = asyncio.create_task(self._down(passage, call, context))
        cut = asyncio.create_task(passage.cut.wait())
        try:
            await asyncio.wait({down, cut}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down, cut):
                task.cancel()
            await asyncio.gather(up, down, cut, return_exceptions=True)
            call.cancel()
        if passage.cut.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        await self._conclude(call, context)

    async def _conclude(self, call: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        """End as Core ended, with its reason."""
        status = await call.code()
        trailing = await call.trailing_metadata() or ()
        context.set_trailing_metadata(tuple((key, value) for key, value in trailing if key in TOLD_BACK))
        if status is not grpc.StatusCode.OK:
            await context.abort(status, await call.details() or "")

    async def _up(self, passage: Passage, requests: AsyncIterator[bytes], call: Any) -> None:
        with self._cutting(passage), contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async for frame in requests:
                await call.write(self.up(frame))
            await call.done_writing()

    async def _down(self, passage: Passage, call: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        # The Runner may hang up at any moment: gRPC says so of the next frame by an error of its own.
        with self._cutting(passage), contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.InternalError):
            async for data in call:
                if self._lets_through(passage, data):
                    await context.write(self.down(data))

    @contextlib.contextmanager
    def _cutting(self, passage: Passage) -> Iterator[None]:
        """A frame that the relay cannot read ends the stream and is no secret."""
        try:
            yield
        except Exception as error:
            self.errors.append(repr(error))
            passage.cut.set()
            raise

    def _lets_through(self, passage: Passage, data: bytes) -> bool:
        if self._mute_at is not None and self._mute_at(decode_core_frame(data)):
            passage.muted, self._mute_at = True, None
            self._muted.set()
        self.swallowed += passage.muted
        return not passage.muted


@asynccontextmanager
async def relayed(trial: Trial) -> AsyncIterator[tuple[Stage, Relay]]:
    """A stage of the trial's own whose Runner reaches Core through a relay."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        relays: list[Relay] = []

        async def put_between(stage: Stage) -> None:
            relay = Relay(stage.grpc_port)
            await relay.start()
            stack.push_async_callback(relay.stop)
            relays.append(relay)
            stage.grpc_port = relay.port

        def prepare(stage: Stage) -> None:
            asyncio.run_coroutine_threadsafe(put_between(stage), loop).result()

        stage = await stack.enter_async_context(trial.stage(prepare=prepare))
        yield stage, relays[0]
        trial.check(not relays[0].errors, f"the relay could not read frames: {relays[0].errors[:3]}")
