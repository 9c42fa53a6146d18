"""What was heard on one stream, and questions about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from typing import Any, TypeVar

from aisops_protocol import messages as m
from aisops_protocol.conformance.referee import Breach

__all__ = ["Heard", "Transcript"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of the runner: when (monotonic seconds), in which frame of the stream, and its envelope."""

    at: float
    frame: int
    envelope: m.RunnerEnvelope

    def __str__(self) -> str:
        body, seq = self.envelope.body, self.envelope.seq
        words = [type(body).__name__ if body is not None else "an unknown message", str(seq or "")]
        words.append(str(getattr(body, "job_id", "")))
        told = [getattr(body, name, None) for name in ("status", "phase", "reason")]
        return " ".join([word for word in words if word] + [word.name for word in told if isinstance(word, IntEnum)])


class Transcript:
    """Everything a runner said on one stream.

    Attributes:
        hello: Its Hello, once it has come.
        heard: Everything it said, in order.
        frame_octets: Size of every frame that came.
        breaches: Rules it broke.
        half_closed: It said that it sends nothing more.
        left: It ended the stream.
    """

    def __init__(self) -> None:
        self.hello: m.Hello | None = None
        self.heard: list[Heard] = []
        self.frame_octets: list[int] = []
        self.breaches: list[Breach] = []
        self.half_closed = self.left = False

    @property
    def greeting(self) -> m.Hello:
        """The Hello. Raises ValueError before it has come."""
        if self.hello is None:
            raise ValueError("no Hello has come")
        return self.hello

    def all(self, kind: type[T], **fields: Any) -> list[T]:
        """Bodies of a kind whose fields have these values, in order."""
        bodies = [one.envelope.body for one in self.heard if isinstance(one.envelope.body, kind)]
        return [body for body in bodies if all(getattr(body, name) == value for name, value in fields.items())]

    def numbered(self) -> list[Heard]:
        """Messages of the durable lane, in the order they came."""
        return [one for one in self.heard if one.envelope.seq]

    def trace(self, last: int = 8) -> str:
        """The last things heard, in words."""
        runs = [(word, len([*same])) for word, same in groupby(map(str, self.heard))]
        said = [f"{word} ×{count}" if count > 1 else word for word, count in runs[-last:]]
        if self.breaches:
            said.append(f"(breach) {self.breaches[-1]}")
        if self.left:
            said.append("then the runner ended the stream")
        return ", ".join(said) or "nothing"
