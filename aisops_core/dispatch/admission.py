"""Admitting jobs: the request checked, made a record, and stored once per idempotency key."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection

from aisops_core.audit.log import append
from aisops_core.audit.record import AuditEntry
from aisops_core.clock import Clock
from aisops_core.dispatch import job as machine
from aisops_core.dispatch import store
from aisops_core.dispatch.job import JobRecord, JobState
from aisops_core.dispatch.matching import route_of
from aisops_core.dispatch.records import SubmitJob
from aisops_core.errors import FieldError, Forbidden, IdempotencyMismatch, InputTooLarge, InvalidRequest
from aisops_core.runners.record import CapabilityRecord
from aisops_core.runners.store import check_labels
from aisops_core.tenants.principal import Principal
from aisops_core.tenants.store import check_id
from aisops_protocol.limits import DURATION_MS, JOB_INPUT_BYTES, PRIORITY

_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS: Final = 80
_ID_CHARS: Final = 26
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]
_LOW_BITS: Final = 40
_LOW_SHIFTS: Final = range(_LOW_BITS - 10, -1, -10)
_HIGH_SHIFTS: Final = range(5 * _ID_CHARS - _LOW_BITS - 10, -1, -10)
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_MAY_ACT: Final = frozenset({"admin", "operator"})


class JobIds:
    """Mints ids that sort by time: 48 bits of milliseconds, 80 random bits, in Crockford's base 32 after `job_`.

    Within one millisecond each id is one above the last, so that jobs of one process keep their order.
    """

    def __init__(self, clock: Clock, random_bytes: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._last = 0

    def mint(self) -> str:
        """A new id."""
        moment = self._clock.unix_ms()
        if moment > self._last >> _RANDOM_BITS:
            drawn = int.from_bytes(self._random_bytes(_RANDOM_BITS // 8), "big")
            self._last = (moment << _RANDOM_BITS) | drawn
        else:
            self._last += 1
        return _spelled(self._last)


def first_id_at(unix_ms: int) -> str:
    """The lowest id that a job made at this moment (wall clock, ms) can have."""
    return _spelled(max(0, unix_ms) << _RANDOM_BITS)


def _spelled(number: int) -> str:
    return _beginning(number >> _LOW_BITS) + "".join([_PAIRS[(number >> shift) & 1023] for shift in _LOW_SHIFTS])


@lru_cache(maxsize=16)
def _beginning(high: int) -> str:
    """What many ids of one millisecond have in common."""
    return "job_" + "".join([_PAIRS[(high >> shift) & 1023] for shift in _HIGH_SHIFTS])


def check_role(principal: Principal) -> None:
    """Only operators and admins may submit and cancel.

    Raises:
        Forbidden: The principal is neither.
    """
    if principal.role not in _MAY_ACT:
        raise Forbidden(
            f"The role {principal.role!r} may not submit or cancel jobs.", advice="Use an operator's token."
        )


def check_request(request: SubmitJob, idempotency_key: str | None) -> None:
    """Check everything but the capability and the input's content.

    Raises:
        InvalidRequest: A field is malformed; all that are get named.
        InputTooLarge: The input is above 1 MiB.
    """
    if len(request.input) > JOB_INPUT_BYTES:
        raise InputTooLarge(len(request.input), JOB_INPUT_BYTES)
    check_id(request.capability, "/capability")
    check_labels(request.labels)
    if request.runner_id is not None:
        check_id(request.runner_id, "/runner_id")
    errors = [
        FieldError(path, f"must be a number of seconds above 0, at most {DURATION_MS // 1000}")
        for path, value in (("/timeout_s", request.timeout_s), ("/queue_ttl_s", request.queue_ttl_s))
        if value is not None and not _is_duration(value)
    ]
    if not -PRIORITY <= request.priority <= PRIORITY:
        errors.append(FieldError("/priority", f"must be between -{PRIORITY} and {PRIORITY}"))
    if idempotency_key is not None and _IDEMPOTENCY_KEY.fullmatch(idempotency_key) is None:
        errors.append(FieldError("/idempotency_key", "must be 1 to 255 visible ASCII characters"))
    if errors:
        raise InvalidRequest("The request is not valid.", errors)


def _is_duration(value: float) -> bool:
    return math.isfinite(value) and 0 < value <= DURATION_MS / 1000


def digest(request: SubmitJob) -> bytes:
    """SHA-256 of everything asked for: two requests under one idempotency key must agree in it."""
    content = [
        request.capability,
        hashlib.sha256(request.input).hexdigest(),
        sorted(request.labels.items()),
        request.runner_id,
        request.timeout_s,
        request.queue_ttl_s,
        request.priority,
        request.execution_id,
        request.step_id,
    ]
    return hashlib.sha256(_encode(content).encode()).digest()


def submission(
    principal: Principal,
    request: SubmitJob,
    capability: CapabilityRecord,
    *,
    job_id: str,
    idempotency_key: str | None,
    now_ms: int,
) -> JobRecord:
    """The record of a new job."""
    labels = tuple(sorted(request.labels.items()))
    timeout_ms = capability.timeout_ms if request.timeout_s is None else max(1, round(request.timeout_s * 1000))
    return JobRecord(
        tenant_id=principal.tenant_id,
        job_id=job_id,
        capability=request.capability,
        state=JobState.QUEUED,
        attempt=1,
        priority=request.priority,
        effect_class=capability.effect_class,
        timeout_ms=timeout_ms,
        labels_json=_encode(dict(labels)) if labels else "{}",
        pinned_runner_id=request.runner_id,
        route=route_of(request.capability, labels, request.runner_id),
        runner_id=None,
        lease_id=None,
        lease_until_unix_ms=None,
        session_epoch=None,
        journal_id=None,
        not_before_unix_ms=0,
        queue_expires_unix_ms=now_ms + max(1, round(request.queue_ttl_s * 1000)),
        created_unix_ms=now_ms,
        leased_unix_ms=None,
        started_unix_ms=None,
        finished_unix_ms=None,
        cancel_requested_unix_ms=None,
        idempotency_key=idempotency_key,
        request_digest=digest(request) if idempotency_key else b"",  # nobody else can repeat it
        created_by=principal.actor,
        execution_id=request.execution_id,
        step_id=request.step_id,
        input_sha256=hashlib.sha256(request.input).digest(),
        input=request.input,
    )


def count_from(records: Iterable[JobRecord], now_ms: int) -> None:
    """Let their times run from here: they may have waited for the ones before them, while the clock was set."""
    for record in records:
        record.queue_expires_unix_ms += now_ms - record.created_unix_ms
        record.created_unix_ms = now_ms


Admitted = tuple[JobRecord, bool]


def sort_out(
    connection: Connection, records: Sequence[JobRecord]
) -> tuple[list[Admitted | IdempotencyMismatch], list[JobRecord]]:
    """Tell new jobs from repeated requests.

    Returns:
        For each, in order, the job and whether it is new, or IdempotencyMismatch when its key made another job; and
        those that are new and still to be stored.
    """
    known = _known_keys(connection, records)
    outcomes: list[Admitted | IdempotencyMismatch] = []
    fresh: list[JobRecord] = []
    for record in records:
        machine.forget_lease(record)  # this unit of work may run a second time
        earlier = known.get((record.tenant_id, record.idempotency_key)) if record.idempotency_key else None
        if earlier is None:
            fresh.append(record)
            if record.idempotency_key:
                known[record.tenant_id, record.idempotency_key] = record
            outcomes.append((record, True))
        else:
            outcomes.append(repeated(earlier, record.request_digest))
    return outcomes, fresh


def store_new(connection: Connection, fresh: Sequence[JobRecord], now_ms: int) -> None:
    """Store new jobs, each with its audit record.

    Where other Cores may be storing the same keys, all do so in one order: in different ones they would wait for each
    other until the database undid one of them.
    """
    ordered = fresh if connection.dialect.name == "sqlite" else sorted(fresh, key=_key)
    store.insert_jobs(connection, ordered)
    append(connection, [_audit(record) for record in fresh], now_ms)


def _key(record: JobRecord) -> tuple[str, str]:
    return record.tenant_id, record.idempotency_key or ""


def repeated(earlier: JobRecord, request_digest: bytes) -> Admitted | IdempotencyMismatch:
    """The answer to a request whose idempotency key was used before."""
    if earlier.request_digest == request_digest:
        return earlier, False
    return IdempotencyMismatch(earlier.job_id)


def _known_keys(connection: Connection, records: Sequence[JobRecord]) -> dict[tuple[str, str | None], JobRecord]:
    keys: dict[str, set[str]] = {}
    for record in records:
        if record.idempotency_key:
            keys.setdefault(record.tenant_id, set()).add(record.idempotency_key)
    return {
        (tenant_id, key): job
        for tenant_id, wanted in keys.items()
        for key, job in store.by_idempotency_key(connection, tenant_id, wanted).items()
    }


def _audit(record: JobRecord) -> AuditEntry:
    about = {"capability": record.capability}
    return AuditEntry(record.tenant_id, record.created_by, "job.submit", record.job_id, about)
