"""A Runner's outbox, Core's tables and a bad link between two real sessions: a world to break.

`run` plays a schedule of faults, lets the world settle, and says which promises were broken. The sessions, the codec
and the resume rules are the product's; the outbox and the tables are the smallest honest models. `mutants` has worlds
that are broken on purpose.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from aisops_protocol import codec
from aisops_protocol import messages as m
from aisops_protocol.errors import RemoteProtocolError
from aisops_protocol.resume import resume, watermarks
from aisops_protocol.session import (
    Acked,
    CancelReceived,
    CoreSession,
    Delivered,
    HelloReceived,
    Identity,
    JobReceived,
    RunnerSession,
    State,
    Welcomed,
)

IDENTITY = Identity("t_default", "runner-1")
WORK = ("append", "flow", "flow", "send", "up", "down", "commit")
FAULTS = (
    "drop_up", "twice_up", "swap_up", "drop_down", "twice_down", "swap_down", "cut", "connect", "restart", "image",
    "rollback", "skip", "beat", "wait", "job", "drain",
)  # fmt: skip
OPERATIONS = WORK * 5 + FAULTS


@dataclass(frozen=True)
class Row:
    first: int
    last: int
    text: str | None  # None: given up by the drop policy


@dataclass
class Outbox:
    """The Runner's queue file: rows, numbers that run on, and an epoch for every opening."""

    rows: list[Row] = field(default_factory=list)
    next_seq: int = 1
    epochs: list[m.EpochStart] = field(default_factory=list)
    history: list[str] = field(default_factory=list)  # every text that must arrive

    def open(self, epoch: bytes) -> None:
        self.epochs.append(m.EpochStart(epoch, self.next_seq))

    def append(self, text: str) -> None:
        self.rows.append(Row(self.next_seq, self.next_seq, text))
        self.history.append(text)
        self.next_seq += 1

    def delete(self, upto: int) -> None:
        self.rows = [row for row in self.rows if row.last > upto]

    def give_up(self, after: int) -> set[str]:
        """Replace the newest rows beyond `after` by one that says they are gone; their texts."""
        gone = [row for row in self.rows if row.first > after][-3:]
        if gone:
            kept = [row for row in self.rows if row.last < gone[0].first]
            self.rows = [*kept, Row(gone[0].first, gone[-1].last, None)]
        return {row.text for row in gone if row.text is not None}


class World:
    """Both programs and the link; broken by `do`, mended by `settle`."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.outbox = Outbox()
        self.image: Outbox | None = None
        self.stored: list[str] = []
        self.given_up: set[str] = set()  # dropped by policy; stays dropped when a rollback brings it back
        self.marks: dict[bytes, int] = {}
        self.appended = 0
        self.jobs = 0
        self.jobs_seen: list[str] = []
        self.runner: RunnerSession | None = None
        self.core: CoreSession | None = None
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        self.delivered: list[Delivered] = []
        self.outbox.open(self.token())

    def token(self) -> bytes:
        return self.rng.randbytes(16)

    # --- life and death -----------------------------------------------------------------------------------------------

    def do(self, operation: str) -> None:
        self.now += self.rng.random()
        {
            "append": lambda: self.append(self.rng.randint(1, 4)),
            "flow": self.flow,
            "send": self.send,
            "up": self.deliver_up,
            "down": self.deliver_down,
            "commit": self.commit,
            "drop_up": lambda: self.up and self.up.pop(0),
            "drop_down": lambda: self.down and self.down.pop(0),
            "twice_up": lambda: self.up.extend(self.up[:1]),
            "twice_down": lambda: self.down.extend(self.down[:1]),
            "swap_up": self.up.reverse,
            "swap_down": self.down.reverse,
            "cut": self.cut,
            "connect": self.connect,
            "restart": self.restart,
            "image": self.take_image,
            "rollback": self.rollback,
            "skip": lambda: self.given_up.update(self.outbox.give_up(self.runner.cursor if self.runner else 0)),
            "beat": self.beat,
            "wait": self.wait,
            "job": self.send_job,
            "drain": lambda: self.is_open and self.core and self.core.send(m.Drain(0)),
        }[operation]()

    def append(self, count: int) -> None:
        for _ in range(count):
            self.appended += 1
            self.outbox.append(f"text-{self.appended}")

    def flow(self) -> None:
        """A moment in which the stream mostly works; the end of each direction is left lying."""
        if self.runner is None or self.runner.state is State.CLOSED:
            self.connect()
        for _ in range(self.rng.randint(1, 6)):
            self.rng.choice((self.send, self.deliver_up, self.deliver_up, self.commit, self.deliver_down))()

    def cut(self) -> None:
        """The stream is gone with everything in it, and what Core had not committed."""
        self.runner = self.core = None
        self.up, self.down, self.delivered = [], [], []

    def connect(self) -> None:
        self.cut()
        self.runner = RunnerSession(IDENTITY, self.hello(), self.now)
        self.core = CoreSession(IDENTITY, self.now)
        self.runner.start(self.now)
        self.flush()

    def restart(self) -> None:
        self.cut()
        self.outbox.open(self.token())

    def take_image(self) -> None:
        self.image = copy.deepcopy(self.outbox)

    def rollback(self) -> None:
        """The machine is restored from its image; the Runner starts and opens the old file."""
        if self.image is not None:
            self.outbox = copy.deepcopy(self.image)
            self.restart()

    def wait(self) -> None:
        self.now += self.rng.choice((1.0, 20.0, 50.0))
        try:
            for session in (self.runner, self.core):
                if session is not None:
                    session.tick(self.now)
        except RemoteProtocolError:
            self.cut()

    # --- the Runner ---------------------------------------------------------------------------------------------------

    def hello(self) -> m.Hello:
        box = self.outbox
        return m.Hello(
            1, 1, self.token(), "boot", "0.1", "linux", "x86_64", 0,
            queue_epoch=box.epochs[-1].epoch,
            epoch_start_seq=box.epochs[-1].start_seq,
            next_seq=box.next_seq,
            oldest_unacked_seq=box.rows[0].first if box.rows else box.next_seq,
            journal_id=b"j" * 16,
            previous_epochs=tuple(box.epochs[-17:-1]),
        )  # fmt: skip

    def send(self) -> None:
        runner = self.runner
        if runner is None:
            return
        for row in self.outbox.rows:
            if row.last <= runner.cursor or not runner.window(self.now):
                continue
            runner.send_durable([self.envelope(row)], self.now)
            if self.rng.random() < 0.5:
                self.flush()
        self.flush()

    def envelope(self, row: Row) -> m.RunnerEnvelope:
        if row.text is None:
            return m.RunnerEnvelope(
                m.Skip(row.first, row.last, m.MessageClass.DROPPABLE, row.last - row.first + 1), row.last
            )
        body = m.LogEvent(m.LogLevel.INFO, row.text, 0)
        return m.RunnerEnvelope(body, row.last, sealed=codec.encode_runner_body(body))

    def beat(self) -> None:
        if self.runner is not None and self.runner.heartbeat_due(self.now):
            self.runner.send_volatile(m.Heartbeat(int(self.now * 1000)), self.now)
            self.flush()

    def deliver_down(self) -> None:
        if not self.down or self.runner is None:
            return
        try:
            events = self.runner.receive(codec.decode_core_frame(self.down.pop(0)), self.now)
        except RemoteProtocolError:
            self.cut()
            return
        for event in events:
            if isinstance(event, Welcomed):
                self.outbox.delete(event.welcome.ack_watermark.seq)
                self.welcomed(event.welcome)
            elif isinstance(event, Acked):
                self.outbox.delete(event.seq)
            elif isinstance(event, JobReceived):
                self.job_arrived(event.job)
            elif isinstance(event, CancelReceived):
                self.cancel_arrived(event.cancel)

    def welcomed(self, welcome: m.Welcome) -> None:
        """For worlds in which more than messages is at stake."""

    def cancel_arrived(self, cancel: m.JobCancel) -> None:
        """For worlds in which jobs are done."""

    def job_arrived(self, job: m.Job) -> None:
        self.jobs_seen.append(job.job_id)

    # --- Core ---------------------------------------------------------------------------------------------------------

    def deliver_up(self) -> None:
        if not self.up or self.core is None:
            return
        try:
            events = self.core.receive(codec.decode_runner_frame(self.up.pop(0)), self.now)
        except RemoteProtocolError:
            self.cut()
            return
        for event in events:
            if isinstance(event, HelloReceived):
                self.core.welcome(self.welcome(event.hello), self.now)
            elif isinstance(event, Delivered):
                self.take(event)
        self.flush()

    def welcome(self, hello: m.Hello) -> m.Welcome:
        return m.Welcome(
            self.token(), 1, b"c" * 16, "core", 1, 0,
            m.Ack(hello.queue_epoch, self.resume_at(hello)),
            max_inflight_messages=8,
        )  # fmt: skip

    def resume_at(self, hello: m.Hello) -> int:
        found = resume(hello, self.marks)
        assert found.gap is None, "nothing was deleted that Core does not have"
        return found.seq

    def take(self, event: Delivered) -> None:
        self.delivered.append(event)

    def commit(self) -> None:
        """Rows and watermark in one transaction, then the acknowledgement."""
        if not self.delivered or self.core is None:
            return
        event = self.delivered.pop(0)
        self.store(event)
        self.core.committed(event.upto_seq)
        self.flush()

    def store(self, event: Delivered) -> None:
        self.stored += [item.body.text for item in event.envelopes if isinstance(item.body, m.LogEvent)]
        self.mark(event.upto_seq)

    def mark(self, seq: int) -> None:
        assert self.core is not None
        assert self.core.hello is not None
        current = self.core.hello.queue_epoch
        for epoch, share in watermarks(self.core.hello, seq).items():
            self.marks[epoch] = share if epoch == current else max(share, self.marks.get(epoch, 0))

    def send_job(self) -> None:
        if self.core is not None and self.is_open:
            self.jobs += 1
            self.core.send(
                m.Job(f"job-{self.jobs}", b"l" * 16, 1, "x", b"{}", b"h" * 32, "k", m.EffectClass.IDEMPOTENT, 1000)
            )
            self.flush()

    # --- the link -----------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self.core is not None and self.core.state in {State.OPEN, State.DRAINING}

    def flush(self) -> None:
        if self.runner is not None:
            self.up += [codec.encode_runner_frame(frame) for frame in self.runner.frames()]
        if self.core is not None:
            self.down += [codec.encode_core_frame(frame) for frame in self.core.frames()]

    def settle(self) -> None:
        """No more faults: one good connection until the outbox is empty, or as long as anything moves."""
        self.connect()
        while True:
            before = (len(self.stored), len(self.outbox.rows), self.runner and self.runner.state)
            for step in (self.deliver_up, self.deliver_down, self.send, self.deliver_up):
                step()
            while self.up or self.delivered or self.down:
                self.deliver_up()
                self.commit()
                self.deliver_down()
            if before == (len(self.stored), len(self.outbox.rows), self.runner and self.runner.state):
                return

    def broken_promises(self) -> list[str]:
        found = []
        if len(set(self.stored)) != len(self.stored):
            found.append("stored twice")
        numbers = [int(text.removeprefix("text-")) for text in self.stored]
        if numbers != sorted(numbers):
            found.append("out of order")
        if lost := set(self.outbox.history) - set(self.stored) - self.given_up:
            found.append(f"lost {sorted(lost)}")
        if self.outbox.rows:
            found.append("not acknowledged")
        return found


def run(kind: type[World], seed: int, operations: Iterable[str]) -> list[str]:
    """Play the operations, settle, and name the broken promises."""
    world = kind(seed)
    for operation in operations:
        world.do(operation)
    world.settle()
    return world.broken_promises()


def schedule(seed: int, length: int) -> list[str]:
    return random.Random(seed).choices(OPERATIONS, k=length)
