"""Which sessions the disk of each Runner certainly knows of."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("runners", sa.Column("confirmed_epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
