"""Lookups are records."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "core_0004"
down_revision = "core_0003"
branch_labels = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ID = sa.String(64).with_variant(mysql.VARCHAR(64, charset="ascii", collation="ascii_nopad_bin"), "mysql")
LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")
KEPT: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_nopad_bin",
    "mysql_engine": "InnoDB",
    "mysql_row_format": "DYNAMIC",
}


def upgrade() -> None:
    """Do it."""
    op.create_table(
        "lookup_policy",
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
        sa.Column("lookup", sa.String(length=48), nullable=False),
        sa.Column("codes", LONG, nullable=False),
        sa.Column("for_type", sa.String(length=48), nullable=False),
        sa.Column("for_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index(
        "lookup_policy_lookup_for_type_for_id_once",
        "lookup_policy",
        ["account_pk", "lookup", "for_type", "for_id", "alive"],
        unique=True,
    )
    op.create_index("lookup_policy_of", "lookup_policy", ["account_pk", "id"], unique=False)
    op.create_table(
        "lookup_row",
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
        sa.Column("enable", sa.Boolean(), nullable=False),
        sa.Column("hide", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("sort", sa.BigInteger(), nullable=False),
        sa.Column("group", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("notes", LONG, nullable=False),
        sa.Column("cfg", LONG, nullable=False),
        sa.Column("lookup", sa.String(length=48), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_fold", LONG, nullable=True),
        sa.Column("aliases", LONG, nullable=False),
        sa.Column("part_of", sa.String(length=64), nullable=False),
        sa.Column("for_type", sa.String(length=48), nullable=False),
        sa.Column("for_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("lookup_row_lookup_for_id", "lookup_row", ["account_pk", "lookup", "for_id", "id"], unique=False)
    op.create_index(
        "lookup_row_lookup_for_type_for_id_code_once",
        "lookup_row",
        ["account_pk", "lookup", "for_type", "for_id", "code", "alive"],
        unique=True,
    )
    op.create_index("lookup_row_of", "lookup_row", ["account_pk", "id"], unique=False)
    op.create_table(
        "site",
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
        sa.Column("enable", sa.Boolean(), nullable=False),
        sa.Column("hide", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("sort", sa.BigInteger(), nullable=False),
        sa.Column("group", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("notes", LONG, nullable=False),
        sa.Column("cfg", LONG, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_fold", LONG, nullable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("site_of", "site", ["account_pk", "id"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("site_of", table_name="site")
    op.drop_table("site")
    op.drop_index("lookup_row_of", table_name="lookup_row")
    op.drop_index("lookup_row_lookup_for_type_for_id_code_once", table_name="lookup_row")
    op.drop_index("lookup_row_lookup_for_id", table_name="lookup_row")
    op.drop_table("lookup_row")
    op.drop_index("lookup_policy_of", table_name="lookup_policy")
    op.drop_index("lookup_policy_lookup_for_type_for_id_once", table_name="lookup_policy")
    op.drop_table("lookup_policy")
