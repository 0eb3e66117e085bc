"""Give contacts their table."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "events_0006"
down_revision = "events_0005"
branch_labels = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ID = sa.String(64).with_variant(mysql.VARCHAR(64, charset="ascii", collation="ascii_nopad_bin"), "mysql")
KEPT: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_nopad_bin",
    "mysql_engine": "InnoDB",
    "mysql_row_format": "DYNAMIC",
}


def upgrade() -> None:
    """Do it."""
    op.create_table(
        "event_contact",
        sa.Column("pk", KEY, autoincrement=False, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("account_pk", KEY, nullable=False),
        sa.Column("alive", sa.Boolean(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("created_by", sa.String(length=64), nullable=True),
        sa.Column("updated_by", sa.String(length=64), nullable=True),
        sa.Column("kind", sa.String(length=7), nullable=False),
        sa.Column("value", sa.String(length=400), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("sort", sa.BigInteger(), nullable=False),
        sa.Column("for_type", sa.String(length=14), nullable=False),
        sa.Column("for_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index(
        "event_contact_for_id_kind_value_once",
        "event_contact",
        ["account_pk", "for_id", "kind", "value", "alive"],
        unique=True,
    )
    op.create_index("event_contact_of", "event_contact", ["account_pk", "id"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("event_contact_of", table_name="event_contact")
    op.drop_index("event_contact_for_id_kind_value_once", table_name="event_contact")
    op.drop_table("event_contact")
