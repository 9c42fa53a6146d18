"""What came of a check, and the two exceptions by which a check's script says that it did not pass."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aisops_protocol.conformance.registry import Check

__all__ = ["Finding", "Skipped", "Unmet", "Verdict"]


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    BROKEN = "broken"


class Unmet(Exception):
    """The runner did not do what a check expects.

    Attributes:
        expected: What the contract asks for.
        came: What was seen instead.
    """

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}; came {came}")
        self.expected = expected
        self.came = came


class Skipped(Exception):
    """The check cannot be made here; the text says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one check went.

    Attributes:
        check: Which.
        verdict: How it ended; BROKEN means that the kit itself failed.
        seen: What was seen; why it was skipped; what broke.
        expected: What should have been seen, when it failed.
        took_s: How long it took, in seconds.
        output: The last lines the runner wrote, when it failed.
    """

    check: Check
    verdict: Verdict
    seen: str
    expected: str = ""
    took_s: float = 0.0
    output: str = ""
