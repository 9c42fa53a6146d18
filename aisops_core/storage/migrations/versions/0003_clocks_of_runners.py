"""How far the clock of each Runner is off."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("runners", sa.Column("clock_skew_ms", sa.BigInteger(), nullable=True))
    op.add_column("runners", sa.Column("clock_level", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
