"""A Runner made of the codec and a plain gRPC channel, which can say things a real Runner never would."""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import grpc

from aisops_protocol.codec import METHOD_PATH, decode_core_frame, encode_runner_frame
from aisops_protocol.messages import (
    Capability,
    CoreBody,
    CoreGoodbye,
    EffectClass,
    Hello,
    Job,
    RunnerBody,
    RunnerEnvelope,
    RunnerFrame,
    Welcome,
)

T = TypeVar("T")
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0))
ECHO = Capability(
    name="test.echo",
    plugin="test",
    plugin_version="1.0",
    effect_class=EffectClass.IDEMPOTENT,
    input_schema=b'{"type":"object","properties":{"text":{"type":"string"}},"required":["text"],'
    b'"additionalProperties":false}',
    description="Says it again.",
)


def build_hello(*capabilities: Capability) -> Hello:
    """A Hello of a Runner that starts with an empty outbox and journal."""
    return Hello(
        protocol_min=1,
        protocol_max=1,
        instance_id=secrets.token_bytes(16),
        boot_id="boot",
        agent_version="0.1",
        os="linux",
        arch="x86_64",
        clock_unix_ms=1,
        queue_epoch=secrets.token_bytes(16),
        epoch_start_seq=1,
        next_seq=1,
        oldest_unacked_seq=1,
        journal_id=secrets.token_bytes(16),
        capabilities=capabilities or (ECHO,),
    )


@dataclass(frozen=True)
class End:
    """How Core ended the RPC."""

    status: grpc.StatusCode
    reason: str
    text: str


class RawRunner:
    """One stream. `frame` defaults may be overridden to claim what is not true."""

    def __init__(
        self,
        port: int,
        token: str | None,
        tenant_id: str = "t_default",
        runner_id: str = "runner-1",
        timeout_s: float = 60,
    ) -> None:
        self.tenant_id, self.runner_id, self.session_id = tenant_id, runner_id, b""
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", list(_OPTIONS))
        self._up: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        metadata = [("authorization", f"Bearer {token}")] if token is not None else []
        connect = self._channel.stream_stream(METHOD_PATH)
        self._call: Any = connect(iter(self._up.get, None), metadata=metadata, timeout=timeout_s)
        self._down: Iterator[CoreBody] = self._bodies()
        self._seq = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._up.put(None)
        self._call.cancel()
        self._channel.close()

    def _bodies(self) -> Iterator[CoreBody]:
        for data in self._call:
            for envelope in decode_core_frame(data).envelopes:
                assert envelope.body is not None
                yield envelope.body

    def raw(self, data: bytes) -> None:
        """Send octets as they are."""
        self._up.put(data)

    def frame(self, envelopes: Sequence[RunnerEnvelope], **claims: Any) -> None:
        """Send one frame; `claims` replace its tenant_id, runner_id or session_id."""
        frame = RunnerFrame(self.tenant_id, self.runner_id, tuple(envelopes), self.session_id)
        self._up.put(encode_runner_frame(replace(frame, **claims)))

    def volatile(self, body: RunnerBody, **claims: Any) -> None:
        """Send one message of the volatile lane."""
        self.frame([RunnerEnvelope(body)], **claims)

    def durable(self, *bodies: RunnerBody, **claims: Any) -> None:
        """Send messages of the durable lane, with the next numbers."""
        envelopes = []
        for body in bodies:
            self._seq += 1
            envelopes.append(RunnerEnvelope(body, self._seq, secrets.token_bytes(16)))
        self.frame(envelopes, **claims)

    def greet(self, *capabilities: Capability) -> Welcome:
        """Say Hello and return the Welcome."""
        self.volatile(build_hello(*capabilities))
        welcome = self.receive(Welcome)
        self.session_id = welcome.session_id
        return welcome

    def receive(self, kind: type[T]) -> T:
        """Return the next message of a kind, passing over others."""
        for body in self._down:
            if isinstance(body, kind):
                return body
        raise AssertionError(f"the stream ended without {kind.__name__}: {self._call.code()}")

    def half_close(self) -> None:
        """Send nothing more."""
        self._up.put(None)

    def end(self) -> tuple[End, CoreGoodbye | None]:
        """Wait for Core to end the RPC; return how, and its goodbye if it said one."""
        goodbye = None
        try:
            for body in self._down:
                goodbye = body if isinstance(body, CoreGoodbye) else goodbye
        except grpc.RpcError:
            pass
        trailing = dict(self._call.trailing_metadata() or ())
        return End(self._call.code(), str(trailing.get("aisops-reason", "")), self._call.details() or ""), goodbye


@contextlib.contextmanager
def working(port: int, token: str, answer: Callable[[Job], Sequence[RunnerBody]]) -> Iterator[RawRunner]:
    """A Runner that does every job at once; `answer` says what it reports of one."""
    runner = RawRunner(port, token)
    runner.greet()

    def work() -> None:
        while True:
            try:
                job = runner.receive(Job)
            except AssertionError:
                return
            runner.durable(*answer(job))

    thread = threading.Thread(target=work)
    thread.start()
    yield runner
    runner.half_close()
    thread.join(20)
    with runner:
        pass
