"""The one job that every round is made of, and the shapes in which it is submitted."""

from __future__ import annotations

import json
from dataclasses import dataclass

CAPABILITY = "noop.echo"
TEXT = "x" * 180
"""Makes about 200 bytes of JSON, as in every peer's round."""
DATA = json.dumps({"text": TEXT}, separators=(",", ":")).encode()
"""Input and output of the job."""
_JOB = {"capability": CAPABILITY, "input": {"text": TEXT}}


@dataclass(frozen=True, slots=True)
class Shape:
    """How jobs are submitted: `size` in one request (1: with a request of its own), `in_flight` requests at a time."""

    size: int
    in_flight: int

    def __str__(self) -> str:
        return f"{self.in_flight} in flight" if self.size == 1 else f"{self.in_flight} × {self.size} per request"

    @property
    def path(self) -> str:
        """The operation of Core's API."""
        return "/api/v1/jobs" if self.size == 1 else "/api/v1/jobs/batch"

    @property
    def body(self) -> bytes:
        """The request's body."""
        return json.dumps(_JOB if self.size == 1 else {"jobs": [_JOB] * self.size}).encode()

    def check(self, answer: bytes) -> None:
        """Read every result of an answer.

        Raises:
            RuntimeError: A job did not succeed, or its result is not what it should be.
        """
        document = json.loads(answer)
        jobs = [document] if self.size == 1 else [item["job"] for item in document["items"]]
        bad = [job for job in jobs if job is None or job["state"] != "succeeded" or job["output"]["text"] != TEXT]
        if bad or len(jobs) != self.size:
            raise RuntimeError(f"{len(bad)} of {len(jobs)} jobs did not succeed, the first: {bad[:1]}")
