"""Events have a site."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "events_0004"
down_revision = "events_0003"
branch_labels = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Do it."""
    op.add_column(
        "event",
        sa.Column("site_id", KEY, sa.ForeignKey("site.pk", deferrable=True, initially="DEFERRED"), nullable=True),
    )


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_column("site_id")
