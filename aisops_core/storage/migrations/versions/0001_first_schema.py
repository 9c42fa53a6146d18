"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_unix_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenants")),
    )
    op.create_table(
        "audit_records",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_unix_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_audit_records_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "seq", name=op.f("pk_audit_records")),
    )
    op.create_table(
        "input_schemas",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_input_schemas_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name=op.f("pk_input_schemas")),
    )
    op.create_table(
        "job_logs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("runner_id", sa.Text(), nullable=False),
        sa.Column("time_unix_ms", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_job_logs_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_logs")),
    )
    op.create_index(op.f("ix_job_logs_tenant_id_job_id_id"), "job_logs", ["tenant_id", "job_id", "id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("capability", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("effect_class", sa.SmallInteger(), nullable=False),
        sa.Column("timeout_ms", sa.BigInteger(), nullable=False),
        sa.Column("labels_json", sa.Text(), nullable=False),
        sa.Column("pinned_runner_id", sa.Text(), nullable=True),
        sa.Column("route", sa.LargeBinary(), nullable=False),
        sa.Column("runner_id", sa.Text(), nullable=True),
        sa.Column("lease_id", sa.LargeBinary(), nullable=True),
        sa.Column("lease_until_unix_ms", sa.BigInteger(), nullable=True),
        sa.Column("session_epoch", sa.BigInteger(), nullable=True),
        sa.Column("journal_id", sa.LargeBinary(), nullable=True),
        sa.Column("not_before_unix_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("queue_expires_unix_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_unix_ms", sa.BigInteger(), nullable=False),
        sa.Column("leased_unix_ms", sa.BigInteger(), nullable=True),
        sa.Column("started_unix_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_unix_ms", sa.BigInteger(), nullable=True),
        sa.Column("cancel_requested_unix_ms", sa.BigInteger(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("step_id", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("input_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("error_retryable", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error_ambiguous", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error_details", sa.LargeBinary(), server_default=sa.text("''"), nullable=False),
        sa.Column("plugin", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("plugin_version", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("sidecar_pid", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("calls", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("exec_started_unix_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("truncated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("output", sa.LargeBinary(), nullable=True),
        sa.Column("input", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_jobs_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "job_id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_lease_expiry",
        "jobs",
        ["lease_until_unix_ms"],
        unique=False,
        sqlite_where=sa.text("lease_until_unix_ms IS NOT NULL"),
        postgresql_where=sa.text("lease_until_unix_ms IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_leased_to",
        "jobs",
        ["tenant_id", "runner_id"],
        unique=False,
        sqlite_where=sa.text("lease_until_unix_ms IS NOT NULL"),
        postgresql_where=sa.text("lease_until_unix_ms IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_queue",
        "jobs",
        ["tenant_id", "route", sa.literal_column("priority DESC"), "job_id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_queue_expiry",
        "jobs",
        ["queue_expires_unix_ms"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_queue_not_before",
        "jobs",
        ["not_before_unix_ms"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_troubled",
        "jobs",
        ["tenant_id", "state", "job_id"],
        unique=False,
        sqlite_where=sa.text("error_code IS NOT NULL"),
        postgresql_where=sa.text("error_code IS NOT NULL"),
    )
    op.create_index(
        "uq_jobs_idempotency_key",
        "jobs",
        ["tenant_id", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "late_results",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("lease_id", sa.LargeBinary(), nullable=False),
        sa.Column("runner_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("output", sa.LargeBinary(), nullable=True),
        sa.Column("received_unix_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_late_results_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "job_id", "lease_id", name=op.f("pk_late_results")),
    )
    op.create_table(
        "result_chunks",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("lease_id", sa.LargeBinary(), nullable=False),
        sa.Column("chunk_index", sa.Integer(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_result_chunks_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "job_id", "lease_id", "chunk_index", name=op.f("pk_result_chunks")),
    )
    op.create_table(
        "runners",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("runner_id", sa.Text(), nullable=False),
        sa.Column("operator_labels_json", sa.Text(), nullable=False),
        sa.Column("labels_json", sa.Text(), nullable=False),
        sa.Column("created_unix_ms", sa.BigInteger(), nullable=False),
        sa.Column("session_epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("session_id", sa.LargeBinary(), nullable=True),
        sa.Column("instance_id", sa.LargeBinary(), nullable=True),
        sa.Column("connected", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("last_seen_unix_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("agent_version", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("os", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("arch", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("job_slots", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("free_slots", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("draining", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("queue_messages", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("queue_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("queue_dropped", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("queue_quarantined", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_runners_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "runner_id", name=op.f("pk_runners")),
    )
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_unix_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_unix_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_unix_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_used_unix_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_tokens_tenant_id")),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_tokens")),
    )
    op.create_index(
        op.f("ix_tokens_tenant_id_kind_subject_id"), "tokens", ["tenant_id", "kind", "subject_id"], unique=False
    )
    op.create_table(
        "capabilities",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("runner_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plugin", sa.Text(), nullable=False),
        sa.Column("plugin_version", sa.Text(), nullable=False),
        sa.Column("effect_class", sa.SmallInteger(), nullable=False),
        sa.Column("timeout_ms", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("schema_digest", sa.LargeBinary(), nullable=False),
        sa.Column("schema_error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("reported_unix_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "runner_id"],
            ["runners.tenant_id", "runners.runner_id"],
            name=op.f("fk_capabilities_tenant_id_runner_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_capabilities_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "runner_id", "name", name=op.f("pk_capabilities")),
    )
    op.create_index(op.f("ix_capabilities_tenant_id_name"), "capabilities", ["tenant_id", "name"], unique=False)
    op.create_table(
        "job_notes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("at_unix_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("runner_id", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.job_id"], name=op.f("fk_job_notes_tenant_id_job_id")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_job_notes_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_notes")),
    )
    op.create_index(op.f("ix_job_notes_tenant_id_job_id"), "job_notes", ["tenant_id", "job_id"], unique=False)
    op.create_table(
        "runner_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("runner_id", sa.Text(), nullable=False),
        sa.Column("at_unix_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "runner_id"],
            ["runners.tenant_id", "runners.runner_id"],
            name=op.f("fk_runner_events_tenant_id_runner_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_runner_events_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runner_events")),
    )
    op.create_index(
        op.f("ix_runner_events_tenant_id_runner_id_id"), "runner_events", ["tenant_id", "runner_id", "id"], unique=False
    )
    op.create_table(
        "watermarks",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("runner_id", sa.Text(), nullable=False),
        sa.Column("queue_epoch", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("session_epoch", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "runner_id"],
            ["runners.tenant_id", "runners.runner_id"],
            name=op.f("fk_watermarks_tenant_id_runner_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_watermarks_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "runner_id", "queue_epoch", name=op.f("pk_watermarks")),
    )
