"""People, keys and who they act for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "core_0009"
down_revision = "core_0008"
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

WIDER = (("membership", "role", 64), ("api_key", "role", 64), ("session", "kind", 7))
"""What was a choice of few words and is a name, or one of more words, now."""
WIDER_BEFORE = {"membership": 7, "api_key": 7, "session": 5}


def upgrade() -> None:
    """Do it."""
    op.create_table(
        "audit_entry",
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
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("details", LONG, nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        **KEPT,
    )
    op.create_index("audit_entry_ids", "audit_entry", ["account_pk", "id"], unique=True)
    op.create_index("audit_entry_what", "audit_entry", ["account_pk", "what", "id"], unique=False)
    op.create_table(
        "device",
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
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        **KEPT,
    )
    op.create_index("device_ids", "device", ["account_pk", "id"], unique=True)
    op.create_table(
        "domain",
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
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("tenant_id", KEY, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["account.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("domain_host_once", "domain", ["account_pk", "host", "alive"], unique=True)
    op.create_index("domain_of", "domain", ["account_pk", "id"], unique=False)
    op.create_index("domain_tenant_id", "domain", ["account_pk", "tenant_id", "id"], unique=False)
    op.create_table(
        "invitation",
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
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("pk"),
        **KEPT,
    )
    op.create_index("invitation_digest", "invitation", ["digest"], unique=False)
    op.create_index("invitation_ids", "invitation", ["account_pk", "id"], unique=True)
    op.create_table(
        "login",
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
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("login_issuer_subject_once", "login", ["account_pk", "issuer", "subject", "alive"], unique=True)
    op.create_index("login_of", "login", ["account_pk", "id"], unique=False)
    op.create_index("login_user_id", "login", ["account_pk", "user_id", "id"], unique=False)
    op.create_table(
        "pairing",
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
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", KEY, nullable=True),
        sa.Column("device_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["account.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("pairing_code", "pairing", ["code"], unique=False)
    op.create_index("pairing_digest", "pairing", ["digest"], unique=False)
    op.create_index("pairing_of", "pairing", ["account_pk", "id"], unique=False)
    op.create_index(
        "pairing_tenant_id",
        "pairing",
        ["account_pk", "tenant_id", "id"],
        unique=False,
        sqlite_where=sa.text("tenant_id IS NOT NULL"),
    )
    op.create_table(
        "role",
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
        sa.Column("permissions", LONG, nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        **KEPT,
    )
    op.create_index("role_ids", "role", ["account_pk", "id"], unique=True)
    op.create_index("role_name_once", "role", ["account_pk", "name", "alive"], unique=True)
    op.create_table(
        "service_account",
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
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        **KEPT,
    )
    op.create_index("service_account_ids", "service_account", ["account_pk", "id"], unique=True)
    op.create_index("service_account_name_once", "service_account", ["account_pk", "name", "alive"], unique=True)
    op.add_column(
        "api_key",
        sa.Column("device_id", KEY, sa.ForeignKey("device.pk", deferrable=True, initially="DEFERRED"), nullable=True),
    )
    op.add_column("api_key", sa.Column("last_used_at", sa.BigInteger(), nullable=True))
    op.add_column("api_key", sa.Column("scopes", LONG, server_default=sa.text("'[\"*\"]'"), nullable=False))
    op.add_column(
        "api_key",
        sa.Column(
            "service_id", KEY, sa.ForeignKey("service_account.pk", deferrable=True, initially="DEFERRED"), nullable=True
        ),
    )
    op.add_column("session", sa.Column("client", sa.String(length=200), server_default=sa.text("''"), nullable=False))
    op.add_column("session", sa.Column("family", sa.String(length=64), nullable=True))
    op.add_column("session", sa.Column("used_at", sa.BigInteger(), nullable=True))
    op.add_column("user", sa.Column("password", sa.String(length=300), nullable=True))
    op.create_index(
        "api_key_device_id",
        "api_key",
        ["account_pk", "device_id", "id"],
        unique=False,
        sqlite_where=sa.text("device_id IS NOT NULL"),
    )
    op.create_index(
        "api_key_service_id",
        "api_key",
        ["account_pk", "service_id", "id"],
        unique=False,
        sqlite_where=sa.text("service_id IS NOT NULL"),
    )
    op.create_index("session_family", "session", ["account_pk", "family", "id"], unique=False)
    op.create_index("user_email_once", "user", ["account_pk", "email", "alive"], unique=True)
    for table, column, now in WIDER:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(
                column, existing_type=sa.String(WIDER_BEFORE[table]), type_=sa.String(now), existing_nullable=False
            )


def downgrade() -> None:
    """Take it back."""
    for table, column, now in WIDER:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(
                column, existing_type=sa.String(now), type_=sa.String(WIDER_BEFORE[table]), existing_nullable=False
            )
    op.drop_index("user_email_once", table_name="user")
    op.drop_index("session_family", table_name="session")
    op.drop_index("api_key_service_id", table_name="api_key", sqlite_where=sa.text("service_id IS NOT NULL"))
    op.drop_index("api_key_device_id", table_name="api_key", sqlite_where=sa.text("device_id IS NOT NULL"))
    with op.batch_alter_table("user", schema=None) as batch_op:
        batch_op.drop_column("password")

    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.drop_column("used_at")

    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.drop_column("family")

    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.drop_column("client")

    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_column("service_id")

    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_column("scopes")

    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_column("last_used_at")

    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_column("device_id")

    op.drop_index("service_account_name_once", table_name="service_account")
    op.drop_index("service_account_ids", table_name="service_account")
    op.drop_table("service_account")
    op.drop_index("role_name_once", table_name="role")
    op.drop_index("role_ids", table_name="role")
    op.drop_table("role")
    op.drop_index("pairing_tenant_id", table_name="pairing", sqlite_where=sa.text("tenant_id IS NOT NULL"))
    op.drop_index("pairing_of", table_name="pairing")
    op.drop_index("pairing_digest", table_name="pairing")
    op.drop_index("pairing_code", table_name="pairing")
    op.drop_table("pairing")
    op.drop_index("login_user_id", table_name="login")
    op.drop_index("login_of", table_name="login")
    op.drop_index("login_issuer_subject_once", table_name="login")
    op.drop_table("login")
    op.drop_index("invitation_ids", table_name="invitation")
    op.drop_index("invitation_digest", table_name="invitation")
    op.drop_table("invitation")
    op.drop_index("domain_tenant_id", table_name="domain")
    op.drop_index("domain_of", table_name="domain")
    op.drop_index("domain_host_once", table_name="domain")
    op.drop_table("domain")
    op.drop_index("device_ids", table_name="device")
    op.drop_table("device")
    op.drop_index("audit_entry_what", table_name="audit_entry")
    op.drop_index("audit_entry_ids", table_name="audit_entry")
    op.drop_table("audit_entry")
