"""Frames as another version of the contract would write them.

An older version knows only what stands in the descriptor of the last release: what was added since does not reach it
and is not sent by it. A newer one has a further field in every message, and messages that nobody here knows.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.message import Message

from aisopsflow.core.runner.v1 import runner_pb2
from tests.chaos.relay import Rewrite

BASELINE = Path(__file__).resolve().parents[2] / "proto" / "baseline" / "v1.binpb"
PACKAGE = "aisopsflow.core.runner.v1"
UP, DOWN = "RunnerMessage", "CoreMessage"
FUTURE_FIELD, FUTURE_ARM = 15_000, 200
UNKNOWN_SHARE = 0.3
"""So many of the Runner's log lines come as a message that this Core does not know."""


def older(message: str) -> Rewrite:
    """Rewrites frames as a peer of the last release would have written or read them."""
    released = descriptor_pb2.FileDescriptorSet.FromString(BASELINE.read_bytes())
    kind = _kind(released.file[0], message)

    def rewrite(data: bytes) -> bytes:
        frame = kind.FromString(data)
        frame.DiscardUnknownFields()
        return bytes(frame.SerializeToString())

    return rewrite


def newer(message: str, chance: random.Random) -> Rewrite:
    """Rewrites frames as a peer of a later minor version would have written them."""
    kind = _kind(_with_future(), message)

    def rewrite(data: bytes) -> bytes:
        frame = kind.FromString(data)
        for envelope in frame.envelopes:
            if message == UP and envelope.HasField("log_event") and chance.random() < UNKNOWN_SHARE:
                envelope.tomorrow.CopyFrom(envelope.log_event)
                envelope.ClearField("log_event")
        _mark(frame)
        return bytes(frame.SerializeToString())

    return rewrite


def _with_future() -> descriptor_pb2.FileDescriptorProto:
    """This version's contract with a further field in every message and a further arm for the Runner."""
    file = descriptor_pb2.FileDescriptorProto()
    runner_pb2.DESCRIPTOR.CopyToProto(file)
    for kind in file.message_type:
        kind.field.add(
            name="from_the_future",
            number=FUTURE_FIELD,
            type=Field.TYPE_STRING,
            label=Field.LABEL_OPTIONAL,
        )
        if kind.name == "RunnerEnvelope":
            kind.field.add(
                name="tomorrow",
                number=FUTURE_ARM,
                type=Field.TYPE_MESSAGE,
                type_name=f".{PACKAGE}.LogEvent",
                label=Field.LABEL_OPTIONAL,
            )
    return file


def _kind(file: descriptor_pb2.FileDescriptorProto, message: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{message}"))


def _mark(message: Any) -> None:
    """Fill the further field of a message and of every message in it."""
    message.from_the_future = "not known here"
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in (value,) if isinstance(value, Message) else value:
                _mark(one)
