"""Every table of Core, once. Migrations must lead to exactly this; a test compares them.

All times are wall-clock milliseconds (`*_unix_ms`). Every table but `meta` and `tenants` begins with the tenant.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

HEAD_REVISION: Final = "0005"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _tenant(*, primary_key: bool = True) -> Column[str]:
    return Column("tenant_id", Text, ForeignKey("tenants.tenant_id"), primary_key=primary_key, nullable=False)


def _text(name: str, *, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=text(f"'{default}'"))


def _number(name: str, kind: Any = BigInteger) -> Column[int]:
    return Column(name, kind, nullable=False, server_default=text("0"))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def _time(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _serial() -> Column[int]:
    # SQLite numbers rows by itself only for a primary key of type INTEGER.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", LargeBinary, nullable=False))

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    _text("name"),
    _time("created_unix_ms"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    _tenant(primary_key=False),
    Column("kind", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    _text("name"),
    Column("secret_hash", LargeBinary, nullable=False),
    _time("created_unix_ms"),
    _time("expires_unix_ms", nullable=True),
    _time("revoked_unix_ms", nullable=True),
    _time("last_used_unix_ms", nullable=True),
    Index(None, "tenant_id", "kind", "subject_id"),
)

runners = Table(
    "runners",
    metadata,
    _tenant(),
    Column("runner_id", Text, primary_key=True),
    Column("operator_labels_json", Text, nullable=False),  # given at creation
    Column("labels_json", Text, nullable=False),  # those, over what the Runner last said of itself
    _time("created_unix_ms"),
    _number("session_epoch"),
    Column("session_id", LargeBinary),
    Column("instance_id", LargeBinary),
    _flag("connected"),
    _number("last_seen_unix_ms"),
    _text("agent_version"),
    _text("os"),
    _text("arch"),
    _number("job_slots", Integer),
    _number("free_slots", Integer),
    _flag("draining"),
    _number("queue_messages"),
    _number("queue_bytes"),
    _number("queue_dropped"),
    _number("queue_quarantined"),
    Column("clock_skew_ms", BigInteger),  # the Runner's clock less Core's; NULL: not measured yet
    _number("clock_level", SmallInteger),  # ClockLevel
    _number("confirmed_epoch"),  # of the newest session that was heard from after its Welcome was on the Runner's disk
    _time("clone_refused_unix_ms", nullable=True),  # of the newest event that tells of a clone; NULL: never
)


def _of_runner() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["tenant_id", "runner_id"], ["runners.tenant_id", "runners.runner_id"])


capabilities = Table(
    "capabilities",
    metadata,
    _tenant(),
    Column("runner_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("plugin", Text, nullable=False),
    Column("plugin_version", Text, nullable=False),
    Column("effect_class", SmallInteger, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    _text("description"),
    Column("schema_digest", LargeBinary, nullable=False),
    _text("schema_error"),
    _time("reported_unix_ms"),
    _of_runner(),
    Index(None, "tenant_id", "name"),
)

input_schemas = Table(
    "input_schemas",
    metadata,
    _tenant(),
    Column("digest", LargeBinary, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

watermarks = Table(
    "watermarks",
    metadata,
    _tenant(),
    Column("runner_id", Text, primary_key=True),
    Column("queue_epoch", LargeBinary, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("session_epoch", BigInteger, nullable=False),  # of the newest session that named it: the oldest are dropped
    _of_runner(),
)

jobs = Table(
    "jobs",
    metadata,
    _tenant(),
    Column("job_id", Text, primary_key=True),
    Column("capability", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("effect_class", SmallInteger, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("labels_json", Text, nullable=False),
    Column("pinned_runner_id", Text),
    Column("route", LargeBinary, nullable=False),
    Column("runner_id", Text),
    Column("lease_id", LargeBinary),
    Column("lease_until_unix_ms", BigInteger),
    Column("session_epoch", BigInteger),
    Column("journal_id", LargeBinary),
    _number("not_before_unix_ms"),
    _time("queue_expires_unix_ms"),
    _time("created_unix_ms"),
    _time("leased_unix_ms", nullable=True),
    _time("started_unix_ms", nullable=True),
    _time("finished_unix_ms", nullable=True),
    _time("cancel_requested_unix_ms", nullable=True),
    Column("idempotency_key", Text),
    Column("request_digest", LargeBinary, nullable=False),
    Column("created_by", Text, nullable=False),
    _text("execution_id"),
    _text("step_id"),
    Column("input_sha256", LargeBinary, nullable=False),
    _time("hold_until_unix_ms", nullable=True),
    Column("error_code", Text),
    _text("error_message"),
    _flag("error_retryable"),
    _flag("error_ambiguous"),
    Column("error_details", LargeBinary, nullable=False, server_default=text("''")),
    _text("plugin"),
    _text("plugin_version"),
    _number("sidecar_pid"),
    _number("calls", Integer),
    _number("exec_started_unix_ms"),
    _number("duration_ms"),
    _flag("truncated"),
    # The two large columns stand last: SQLite then reads the others without walking their overflow pages.
    Column("output", LargeBinary),
    Column("input", LargeBinary, nullable=False),
)

_QUEUED: Final = text("state = 'queued'")
_TROUBLED: Final = text("error_code IS NOT NULL")
_LEASED: Final = text("lease_until_unix_ms IS NOT NULL")
_KEYED: Final = text("idempotency_key IS NOT NULL")
Index(
    "uq_jobs_idempotency_key",
    jobs.c.tenant_id,
    jobs.c.idempotency_key,
    unique=True,
    sqlite_where=_KEYED,
    postgresql_where=_KEYED,
)
Index(
    "ix_jobs_queue",
    jobs.c.tenant_id,
    jobs.c.route,
    jobs.c.priority.desc(),
    jobs.c.job_id,
    sqlite_where=_QUEUED,
    postgresql_where=_QUEUED,
)
Index(
    "ix_jobs_troubled",
    jobs.c.tenant_id,
    jobs.c.state,
    jobs.c.job_id,
    sqlite_where=_TROUBLED,
    postgresql_where=_TROUBLED,
)
Index("ix_jobs_queue_expiry", jobs.c.queue_expires_unix_ms, sqlite_where=_QUEUED, postgresql_where=_QUEUED)
Index("ix_jobs_queue_not_before", jobs.c.not_before_unix_ms, sqlite_where=_QUEUED, postgresql_where=_QUEUED)
Index("ix_jobs_lease_expiry", jobs.c.lease_until_unix_ms, sqlite_where=_LEASED, postgresql_where=_LEASED)
Index("ix_jobs_leased_to", jobs.c.tenant_id, jobs.c.runner_id, sqlite_where=_LEASED, postgresql_where=_LEASED)


def _of_job() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.job_id"])


job_notes = Table(
    "job_notes",
    metadata,
    _serial(),
    _tenant(primary_key=False),
    Column("job_id", Text, nullable=False),
    _time("at_unix_ms"),
    Column("kind", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("runner_id", Text, nullable=False),
    _text("message"),
    _of_job(),
    Index(None, "tenant_id", "job_id"),
)

job_logs = Table(
    "job_logs",
    metadata,
    _serial(),
    _tenant(primary_key=False),
    Column("job_id", Text, nullable=False),  # "" for a line of the Runner itself, hence no foreign key
    Column("runner_id", Text, nullable=False),
    _time("time_unix_ms"),
    Column("level", SmallInteger, nullable=False),
    Column("text", Text, nullable=False),
    _text("source"),
    Index(None, "tenant_id", "job_id", "id"),
)

late_results = Table(
    "late_results",
    metadata,
    _tenant(),
    Column("job_id", Text, primary_key=True),
    Column("lease_id", LargeBinary, primary_key=True),
    Column("runner_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("error_code", Text),
    _text("error_message"),
    Column("output", LargeBinary),
    _time("received_unix_ms"),
)

job_resolutions = Table(
    "job_resolutions",
    metadata,
    _tenant(),
    Column("job_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("verdict", Text, nullable=False),
    Column("actor", Text, nullable=False),
    _text("note"),
    _time("at_unix_ms"),
    _of_job(),
)

result_chunks = Table(
    "result_chunks",
    metadata,
    _tenant(),
    Column("job_id", Text, primary_key=True),
    Column("lease_id", LargeBinary, primary_key=True),
    Column("chunk_index", Integer, primary_key=True),
    Column("chunk_count", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
)

runner_events = Table(
    "runner_events",
    metadata,
    _serial(),
    _tenant(primary_key=False),
    Column("runner_id", Text, nullable=False),
    _time("at_unix_ms"),
    Column("kind", Text, nullable=False),
    Column("data", Text, nullable=False),
    _of_runner(),
    Index(None, "tenant_id", "runner_id", "id"),
)

audit_records = Table(
    "audit_records",
    metadata,
    _tenant(),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _time("at_unix_ms"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
