"""The tables of the first version."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "core_0001"
down_revision = None
branch_labels = ("core",)

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
        "account",
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
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("account_name_once", "account", ["account_pk", "name", "alive"], unique=True)
    op.create_table(
        "account_state",
        sa.Column("account_pk", KEY, autoincrement=False, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_pk"),
        sa.UniqueConstraint("account"),
        **KEPT,
    )
    op.create_table(
        "api_key",
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
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=7), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("api_key_digest", "api_key", ["digest"], unique=False)
    op.create_index("api_key_of", "api_key", ["account_pk"], unique=False)
    op.create_table(
        "change",
        sa.Column("account_pk", KEY, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=48), nullable=False),
        sa.Column("rec", ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("after", LONG, nullable=False),
        sa.Column("before", LONG, nullable=True),
        sa.Column("actor", sa.String(length=64), nullable=True),
        sa.Column("session", sa.String(length=64), nullable=True),
        sa.Column("request", LONG, nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_pk", "seq", "part"),
        **KEPT,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "change_of", "change", ["account_pk", "rec", "version"], unique=False, sqlite_where=sa.text("kind != 'create'")
    )
    op.create_table(
        "idempotency",
        sa.Column("pk", KEY, autoincrement=False, nullable=False),
        sa.Column("account_pk", KEY, nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column(
            "digest",
            sa.LargeBinary(length=64).with_variant(
                mysql.VARCHAR(charset="ascii", collation="ascii_nopad_bin", length=128), "mysql"
            ),
            nullable=False,
        ),
        sa.Column("answer", LONG, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("account_pk", "scope", "key"),
        **KEPT,
    )
    op.create_table(
        "membership",
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
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("role", sa.String(length=7), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("membership_user_id_once", "membership", ["account_pk", "user_id", "alive"], unique=True)
    op.create_table(
        "meta",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        **KEPT,
    )
    op.create_table(
        "session",
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
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("kind", sa.String(length=5), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("session_digest", "session", ["digest"], unique=False)
    op.create_index("session_of", "session", ["account_pk"], unique=False)
    op.create_table(
        "user",
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
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("user_of", "user", ["account_pk"], unique=False)
    if op.get_context().dialect.name == "mysql":
        # Several hubs take keys in blocks, so there the order of keys is not that of time.
        op.create_index("idempotency_at", "idempotency", ["at"])
        op.execute("CREATE SEQUENCE IF NOT EXISTS record_pk START WITH 1 INCREMENT BY 1024 NOCACHE")


def downgrade() -> None:
    """Take it back."""
    raise RuntimeError("there is nothing before the first step; restore a backup")
