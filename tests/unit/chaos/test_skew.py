"""Frames of other versions are what they claim to be: read by this version's codec, with and without what it knows."""

from __future__ import annotations

import random

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

from aisops_protocol import codec
from aisops_protocol import messages as m
from aisopsflow.core.runner.v1 import runner_pb2
from tests.chaos import skew
from tests.unit.protocol.examples import CORE_BODIES, RUNNER, SESSION

ALWAYS = random.Random(0)
ALWAYS.random = lambda: 0.0  # type: ignore[method-assign]
NEVER = random.Random(0)
NEVER.random = lambda: 1.0  # type: ignore[method-assign]


def up(name: str) -> bytes:
    return codec.encode_runner_frame(m.RunnerFrame("t", "r", (m.RunnerEnvelope(RUNNER[name], 0),), SESSION))


def down(name: str) -> bytes:
    return codec.encode_core_frame(m.CoreFrame("t", "r", (m.CoreEnvelope(CORE_BODIES[name], 1),), SESSION))


@pytest.mark.parametrize("name", RUNNER)
def test_a_newer_runner_says_the_same_and_more(name: str) -> None:
    frame = up(name)
    future = skew.newer(skew.UP, NEVER)(frame)
    assert len(future) > len(frame)
    assert codec.decode_runner_frame(future) == codec.decode_runner_frame(frame)


@pytest.mark.parametrize("name", CORE_BODIES)
def test_a_newer_core_says_the_same_and_more(name: str) -> None:
    frame = down(name)
    future = skew.newer(skew.DOWN, NEVER)(frame)
    assert len(future) > len(frame)
    assert codec.decode_core_frame(future) == codec.decode_core_frame(frame)


def test_a_newer_runner_says_things_that_nobody_here_knows() -> None:
    (envelope,) = codec.decode_runner_frame(skew.newer(skew.UP, ALWAYS)(up("log_event"))).envelopes
    assert envelope.body is None


@pytest.mark.parametrize("name", RUNNER)
def test_an_older_peer_drops_what_came_after_its_release(name: str) -> None:
    frame = up(name)
    assert skew.older(skew.UP)(skew.newer(skew.UP, NEVER)(frame)) == skew.older(skew.UP)(frame)
    assert not UnknownFieldSet(runner_pb2.RunnerMessage.FromString(skew.older(skew.UP)(frame)))
