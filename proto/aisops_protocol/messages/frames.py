"""The outer layers: an envelope gives one message its place in the order, a frame carries many to one address."""

from __future__ import annotations

from dataclasses import field

from aisops_protocol.messages.core import CoreBody
from aisops_protocol.messages.runner import RunnerBody
from aisops_protocol.records import record


@record
class RunnerEnvelope:
    """One message in a frame. `seq` 0 is the volatile lane; above 0 the durable lane of the session's queue epoch.

    `body` is None for an arm this version does not know: count it and, unless `critical`, ignore it.
    `sealed` is the body in wire form when it is at hand (an outbox row, from `codec.encode_runner_body`): the codec
    then sends those octets as they are and `body` may be None. A Skip is never sealed: the session must see its range.
    """

    body: RunnerBody | None
    seq: int = 0
    message_id: bytes = b""
    critical: bool = False
    sealed: bytes = field(default=b"", repr=False, compare=False)


@record
class CoreEnvelope:
    """One message in a frame. `core_seq` counts from 1 (the Welcome) within the session; 0 before it."""

    body: CoreBody | None
    core_seq: int = 0
    critical: bool = False


@record
class RunnerFrame:
    """One gRPC message from Runner to Core. Both ids are in every frame and are checked against the credential."""

    tenant_id: str
    runner_id: str
    envelopes: tuple[RunnerEnvelope, ...]
    session_id: bytes = b""


@record
class CoreFrame:
    """One gRPC message from Core to Runner."""

    tenant_id: str
    runner_id: str
    envelopes: tuple[CoreEnvelope, ...]
    session_id: bytes = b""
