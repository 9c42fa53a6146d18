"""Until when a Runner may hold a job, and what a person decided about an uncertain one."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column and the table."""
    op.add_column("jobs", sa.Column("hold_until_unix_ms", sa.BigInteger(), nullable=True))
    op.create_table(
        "job_resolutions",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("at_unix_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_job_resolutions_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.job_id"], name=op.f("fk_job_resolutions_tenant_id_job_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "job_id", "attempt", name=op.f("pk_job_resolutions")),
    )
