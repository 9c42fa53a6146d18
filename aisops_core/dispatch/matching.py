"""Which Runner may have which job, and why not: pure.

Jobs that ask for the same thing share a `Demand` (and its `route`, a digest of it), so that a thousand queued jobs are
matched as one. `refusal` is the single rule; assigning and explaining both use it.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeVar

Key = TypeVar("Key")
_ROUTE_BYTES: Final = 16
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Demand:
    """What a job asks of a Runner. `labels` are sorted pairs; `pinned_runner_id` None means any Runner."""

    capability: str
    labels: tuple[tuple[str, str], ...] = ()
    pinned_runner_id: str | None = None

    @property
    def route(self) -> bytes:
        """Digest of the demand (16 octets): equal for jobs that the same Runners may have."""
        return route_of(self.capability, self.labels, self.pinned_runner_id)


@lru_cache(maxsize=4096)
def route_of(capability: str, labels: tuple[tuple[str, str], ...], pinned_runner_id: str | None) -> bytes:
    """The route of a `Demand` of these parts."""
    content = _encode([capability, labels, pinned_runner_id])
    return hashlib.sha256(content.encode()).digest()[:_ROUTE_BYTES]


def demand_of(capability: str, labels_json: str, pinned_runner_id: str | None) -> Demand:
    """The demand that a job's columns state."""
    labels: dict[str, str] = json.loads(labels_json)
    return Demand(capability, tuple(sorted(labels.items())), pinned_runner_id)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a Runner has to give at this moment."""

    runner_id: str
    capabilities: Collection[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    free_slots: int = 0
    draining: bool = False
    connected: bool = True


class Refusal(StrEnum):
    """Why a Runner may not have a job now."""

    PINNED_ELSEWHERE = "pinned_elsewhere"
    NO_CAPABILITY = "no_capability"
    LABELS_DIFFER = "labels_differ"
    OFFLINE = "offline"
    DRAINING = "draining"
    NO_FREE_SLOT = "no_free_slot"


PASSING: Final = frozenset({Refusal.OFFLINE, Refusal.DRAINING, Refusal.NO_FREE_SLOT})
"""Refusals that time alone can lift."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What `explain` says of one Runner: None is "it may have the job now"."""

    runner_id: str
    refusal: Refusal | None
    detail: str = ""


def refusal(demand: Demand, offer: Offer) -> Refusal | None:
    """Why this Runner may not have such a job now; None when it may. Lasting reasons come before passing ones."""
    if demand.pinned_runner_id is not None and demand.pinned_runner_id != offer.runner_id:
        return Refusal.PINNED_ELSEWHERE
    if demand.capability not in offer.capabilities:
        return Refusal.NO_CAPABILITY
    if any(offer.labels.get(key) != value for key, value in demand.labels):
        return Refusal.LABELS_DIFFER
    if not offer.connected:
        return Refusal.OFFLINE
    if offer.draining:
        return Refusal.DRAINING
    return Refusal.NO_FREE_SLOT if offer.free_slots <= 0 else None


def explain(demand: Demand, offers: Iterable[Offer]) -> tuple[Finding, ...]:
    """For every Runner, whether it may have such a job and, if not, what stands in the way."""
    return tuple(_finding(demand, offer) for offer in offers)


_PASSING_WORDS: Final[Mapping[Refusal, str]] = {
    Refusal.OFFLINE: "it is not connected",
    Refusal.DRAINING: "it is stopping and takes no new job",
    Refusal.NO_FREE_SLOT: "all its slots are taken",
}


def _finding(demand: Demand, offer: Offer) -> Finding:
    reason = refusal(demand, offer)
    if reason is Refusal.PINNED_ELSEWHERE:
        return Finding(offer.runner_id, reason, f"the job is for Runner {demand.pinned_runner_id}")
    if reason is Refusal.NO_CAPABILITY:
        return Finding(offer.runner_id, reason, f"it does not offer {demand.capability}")
    if reason is Refusal.LABELS_DIFFER:
        missing = [f"{key}={value}" for key, value in demand.labels if offer.labels.get(key) != value]
        return Finding(offer.runner_id, reason, f"it does not carry {', '.join(missing)}")
    return Finding(offer.runner_id, reason, _PASSING_WORDS.get(reason, "") if reason else "")


def assign(jobs: Sequence[tuple[Key, Demand]], offers: Sequence[Offer]) -> list[tuple[Key, str]]:
    """Give jobs, in the order given, to the Runners that have most free slots.

    Returns:
        Pairs of the job's key and a runner id; a job that no Runner may have now is left out. No Runner gets more jobs
        than it has free slots.
    """
    free = {offer.runner_id: offer.free_slots for offer in offers}
    heaps: dict[Demand, list[tuple[int, str]]] = {}
    pairs: list[tuple[Key, str]] = []
    last: Demand | None = None
    heap: list[tuple[int, str]] = []
    for key, demand in jobs:
        if demand is not last:  # as a rule many in a row ask for the same
            last, found = demand, heaps.get(demand)
            if found is None:
                found = [(-o.free_slots, o.runner_id) for o in offers if refusal(demand, o) is None]
                heapq.heapify(found)
                heaps[demand] = found
            heap = found
        runner_id = _take(heap, free)
        if runner_id is not None:
            pairs.append((key, runner_id))
    return pairs


def _take(heap: list[tuple[int, str]], free: dict[str, int]) -> str | None:
    """The Runner with most free slots, less one slot. Counts in the heap may be stale: other demands share slots."""
    while heap:
        count, runner_id = heap[0]
        if free[runner_id] <= 0:
            heapq.heappop(heap)
        elif -count != free[runner_id]:
            heapq.heapreplace(heap, (-free[runner_id], runner_id))
        else:
            free[runner_id] -= 1
            heapq.heapreplace(heap, (-free[runner_id], runner_id))
            return runner_id
    return None
