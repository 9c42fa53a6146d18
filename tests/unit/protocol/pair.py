"""Two sessions that speak to each other, in any state, for the tests of the session machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aisops_protocol import codec
from aisops_protocol import messages as m
from aisops_protocol.errors import ProtocolError
from aisops_protocol.session import (
    CoreSession,
    Identity,
    RunnerSession,
    State,
    Step,
)
from tests.unit.protocol import examples as ex

IDENTITY = Identity("t_default", "runner-1")
HELLO = m.Hello(1, 1, b"i" * 16, "boot", "0.1", "linux", "x86_64", 0, ex.EPOCH, 1, 100, 1, ex.JOURNAL)
WELCOME = m.Welcome(ex.SESSION, 1, ex.CORE, "core", 1, 1_000_000, m.Ack(ex.EPOCH, 0))
JOB = ex.CORE_BODIES["job"]
LOG = m.LogEvent(m.LogLevel.INFO, "line", 0)
BY_STEP: dict[Step, m.RunnerBody | m.CoreBody] = {
    Step.HELLO: HELLO,
    Step.CHALLENGE: m.Challenge(ex.HASH),
    Step.PROOF: m.Proof(b"signed"),
    Step.WELCOME: WELCOME,
    Step.DURABLE: LOG,
    Step.HEARTBEAT: m.Heartbeat(1),
    Step.CONTROL: JOB,
    Step.DRAIN: m.Drain(0),
    Step.RUNNER_GOODBYE: m.RunnerGoodbye("stop"),
    Step.CORE_GOODBYE: m.CoreGoodbye("OVERLOADED"),
}


FROM_RUNNER = {Step.HELLO, Step.PROOF, Step.DURABLE, Step.HEARTBEAT, Step.RUNNER_GOODBYE}


class Pair:
    """Two sessions and a link that works, through the real codec."""

    def __init__(self, hello: m.Hello = HELLO, welcome: m.Welcome = WELCOME) -> None:
        self.runner = RunnerSession(IDENTITY, hello, 0.0)
        self.core = CoreSession(IDENTITY, 0.0)
        self.hello_welcome = welcome

    def up(self, now: float = 0.0) -> list[object]:
        found: list[object] = []
        for frame in self.runner.frames():
            found += self.core.receive(codec.decode_runner_frame(codec.encode_runner_frame(frame)), now)
        return found

    def down(self, now: float = 0.0) -> list[object]:
        found: list[object] = []
        for frame in self.core.frames():
            found += self.runner.receive(codec.decode_core_frame(codec.encode_core_frame(frame)), now)
        return found

    def greet(self) -> Pair:
        self.runner.start(0.0)
        self.up()
        return self

    def open(self) -> Pair:
        self.greet()
        self.core.welcome(self.hello_welcome, 0.0)
        self.down()
        return self

    def drain(self) -> Pair:
        self.open()
        self.core.send(m.Drain(0), now=0.0)
        self.down()
        return self

    def close(self) -> Pair:
        self.open()
        self.core.close("OVERLOADED", "")
        self.down()
        return self


REACH: dict[State, Callable[[], Pair]] = {
    State.IDLE: Pair,
    State.GREETING: lambda: Pair().greet(),
    State.OPEN: lambda: Pair().open(),
    State.DRAINING: lambda: Pair().drain(),
    State.CLOSED: lambda: Pair().close(),
}


def rows(*seqs: int) -> list[m.RunnerEnvelope]:
    return [m.RunnerEnvelope(LOG, seq) for seq in seqs]


def runner_frame(*envelopes: m.RunnerEnvelope, session: bytes = ex.SESSION) -> m.RunnerFrame:
    return m.RunnerFrame("t_default", "runner-1", envelopes, session)


def core_frame(*bodies: m.CoreBody | None, first: int = 2, session: bytes = ex.SESSION) -> m.CoreFrame:
    envelopes = tuple(m.CoreEnvelope(body, first + n) for n, body in enumerate(bodies))
    return m.CoreFrame("t_default", "runner-1", envelopes, session)


def code_of(kind: type[ProtocolError], act: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        act()
    assert caught.value.diagnostics()["code"] == caught.value.code
    return caught.value.code
