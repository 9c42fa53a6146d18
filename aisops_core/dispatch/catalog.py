"""What each tenant's Runners offer, kept in memory between sessions so that submitting needs no read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aisops_core.clock import Clock
from aisops_core.dispatch.records import SubmitJob
from aisops_core.errors import UnknownCapability
from aisops_core.runners.record import CapabilityRecord
from aisops_core.runners.store import offered
from aisops_core.storage.engine import Store

Wanted = tuple[str, str | None]
"""A capability's name, and the Runner it must be offered by, if any."""
FRESH_S: Final = 5.0
"""How long another process's news may stay unnoticed."""


class Catalog:
    """Capabilities by tenant. This process's own sessions refresh it at once."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._tenants: dict[str, tuple[float, dict[str, list[CapabilityRecord]]]] = {}

    def forget(self, tenant_id: str) -> None:
        """Something changed: read again at the next look."""
        self._tenants.pop(tenant_id, None)

    async def find(self, tenant_id: str, request: SubmitJob) -> CapabilityRecord:
        """The capability as it was last reported, by the Runner the job is pinned to or by any.

        Raises:
            UnknownCapability: No Runner of the tenant (or not the one pinned to) has ever offered it.
            StorageUnavailable: The database could not serve.
        """
        wanted = (request.capability, request.runner_id)
        found = (await self.find_all(tenant_id, [wanted]))[wanted]
        if isinstance(found, UnknownCapability):
            raise found
        return found

    async def find_all(
        self, tenant_id: str, wanted: Iterable[Wanted]
    ) -> dict[Wanted, CapabilityRecord | UnknownCapability]:
        """As `find`, for many at once: UnknownCapability in the place of what nobody offers.

        Raises:
            StorageUnavailable: The database could not serve.
        """
        found = _look_up(await self._offers(tenant_id), wanted)
        if any(isinstance(one, UnknownCapability) for one in found.values()):
            # One more look for all of them: another process may have heard of it since.
            found = _look_up(await self._offers(tenant_id, again=True), found)
        return found

    async def _offers(self, tenant_id: str, *, again: bool = False) -> dict[str, list[CapabilityRecord]]:
        cached = self._tenants.get(tenant_id)
        now = self._clock.monotonic()
        if cached is not None and not again and now - cached[0] < FRESH_S:
            return cached[1]
        offers: dict[str, list[CapabilityRecord]] = {}
        for record in await self._store.read(lambda connection: offered(connection, tenant_id)):
            offers.setdefault(record.name, []).append(record)
        self._tenants[tenant_id] = (now, offers)
        return offers


def _look_up(
    offers: Mapping[str, Sequence[CapabilityRecord]], wanted: Iterable[Wanted]
) -> dict[Wanted, CapabilityRecord | UnknownCapability]:
    found: dict[Wanted, CapabilityRecord | UnknownCapability] = {}
    for name, runner_id in wanted:
        record = _newest(offers.get(name, ()), runner_id)
        found[name, runner_id] = record or UnknownCapability(name, _known(offers, runner_id), runner_id)
    return found


def _known(offers: Mapping[str, Sequence[CapabilityRecord]], runner_id: str | None) -> list[str]:
    return sorted(name for name, records in offers.items() if _newest(records, runner_id))


def _newest(records: Sequence[CapabilityRecord], runner_id: str | None) -> CapabilityRecord | None:
    if runner_id is None:
        return records[0] if records else None
    return next((record for record in records if record.runner_id == runner_id), None)
