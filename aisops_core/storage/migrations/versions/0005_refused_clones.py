"""When a second machine was last refused under the name of each Runner."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column."""
    op.add_column("runners", sa.Column("clone_refused_unix_ms", sa.BigInteger(), nullable=True))
