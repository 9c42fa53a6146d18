"""The states of a session and the one table of its transitions, for both roles.

Nothing here knows which role it plays: a step is a message crossing the stream, whoever sent it, so both ends walk the
same table. What is not in the table is a breach of the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from aisops_protocol import messages as m

__all__ = ["DURABLE", "STEPS", "TRANSITIONS", "VOLATILE", "State", "Step", "diagram", "following"]


class State(Enum):
    """Where a session stands."""

    IDLE = "idle"
    GREETING = "greeting"
    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"

    __hash__ = object.__hash__  # Enum's own is written in Python, and every message is looked up by state and step


class Step(Enum):
    """What moves a session: a kind of message, or a failure of either side."""

    HELLO = "Hello"
    CHALLENGE = "Challenge"
    PROOF = "Proof"
    WELCOME = "Welcome"
    DURABLE = "durable message"
    HEARTBEAT = "Heartbeat"
    CONTROL = "control message"
    DRAIN = "Drain"
    RUNNER_GOODBYE = "RunnerGoodbye"
    CORE_GOODBYE = "CoreGoodbye"
    FAILURE = "failure"

    __hash__ = object.__hash__


TRANSITIONS: Final[Mapping[State, Mapping[Step, State]]] = MappingProxyType(
    {
        State.IDLE: {
            Step.HELLO: State.GREETING,
            Step.CORE_GOODBYE: State.CLOSED,
            Step.FAILURE: State.CLOSED,
        },
        State.GREETING: {
            Step.CHALLENGE: State.GREETING,
            Step.PROOF: State.GREETING,
            Step.WELCOME: State.OPEN,
            Step.CORE_GOODBYE: State.CLOSED,
            Step.FAILURE: State.CLOSED,
        },
        State.OPEN: {
            Step.DURABLE: State.OPEN,
            Step.HEARTBEAT: State.OPEN,
            Step.CONTROL: State.OPEN,
            Step.DRAIN: State.DRAINING,
            Step.RUNNER_GOODBYE: State.CLOSED,
            Step.CORE_GOODBYE: State.CLOSED,
            Step.FAILURE: State.CLOSED,
        },
        State.DRAINING: {
            Step.DURABLE: State.DRAINING,
            Step.HEARTBEAT: State.DRAINING,
            Step.CONTROL: State.DRAINING,
            Step.DRAIN: State.DRAINING,
            Step.RUNNER_GOODBYE: State.CLOSED,
            Step.CORE_GOODBYE: State.CLOSED,
            Step.FAILURE: State.CLOSED,
        },
        State.CLOSED: {},
    }
)

STEPS: Final[Mapping[type, Step]] = MappingProxyType(
    {
        m.Hello: Step.HELLO,
        m.Proof: Step.PROOF,
        m.Heartbeat: Step.HEARTBEAT,
        m.RunnerGoodbye: Step.RUNNER_GOODBYE,
        m.Challenge: Step.CHALLENGE,
        m.Welcome: Step.WELCOME,
        m.Drain: Step.DRAIN,
        m.CoreGoodbye: Step.CORE_GOODBYE,
        **dict.fromkeys((m.Job, m.JobCancel, m.Ack, m.Pong, m.Ping, m.Rewind, m.Slow, m.CredentialOffer), Step.CONTROL),
    }
)
"""Which step a volatile message is. Whatever has a sequence number is DURABLE."""

VOLATILE: Final[frozenset[type]] = frozenset({m.Hello, m.Proof, m.Heartbeat, m.RunnerGoodbye})
"""What a Runner may send without a sequence number."""

DURABLE: Final[frozenset[type]] = frozenset(
    {
        m.JobAccept,
        m.JobReject,
        m.JobResult,
        m.ResultChunk,
        m.LogEvent,
        m.Event,
        m.CancelState,
        m.Heartbeat,
        m.Skip,
        m.GapReport,
        m.CredentialReply,
    }
)
"""What a Runner may send with a sequence number; Heartbeat only to make up for a time offline."""


def following(state: State, step: Step) -> State | None:
    """The state after `step`, or None when the contract forbids that step here."""
    return TRANSITIONS[state].get(step)


def diagram() -> str:
    """The table as a mermaid state diagram: one arrow for each pair of states, steps in the order of the table."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDLE.name}"]
    for state, steps in TRANSITIONS.items():
        arrows: dict[State, list[str]] = {}
        for step, target in steps.items():
            arrows.setdefault(target, []).append(step.value)
        lines += [f"    {state.name} --> {target.name}: {', '.join(names)}" for target, names in arrows.items()]
    lines.append(f"    {State.CLOSED.name} --> [*]")
    return "\n".join(lines) + "\n"
