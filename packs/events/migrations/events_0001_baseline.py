"""The tables of the first version."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "events_0001"
down_revision = None
branch_labels = ("events",)

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
        "event",
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
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("title_fold", LONG, nullable=True),
        sa.Column("acronym", sa.String(length=100), nullable=True),
        sa.Column("acronym_fold", LONG, nullable=True),
        sa.Column("starts_on", sa.String(length=10), nullable=True),
        sa.Column("ends_on", sa.String(length=10), nullable=True),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("event_acronym_once", "event", ["account_pk", "acronym", "alive"], unique=True)
    op.create_table(
        "event_file",
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
        sa.Column("event_id", KEY, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("name_fold", LONG, nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index(
        "event_file_event_id_name_once", "event_file", ["account_pk", "event_id", "name", "alive"], unique=True
    )
    op.create_index("event_file_sha256", "event_file", ["account_pk", "sha256"], unique=False)
    op.create_table(
        "event_import",
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
        sa.Column("event_id", KEY, nullable=False),
        sa.Column("entity", sa.String(length=48), nullable=False),
        sa.Column("key", sa.String(length=400), nullable=False),
        sa.Column("rec", sa.String(length=64), nullable=False),
        sa.Column("values", LONG, nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index("event_import_entity_key", "event_import", ["account_pk", "entity", "key"], unique=False)
    op.create_index(
        "event_import_event_id_entity_key_once",
        "event_import",
        ["account_pk", "event_id", "entity", "key", "alive"],
        unique=True,
    )
    op.create_table(
        "event_location",
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
        sa.Column("event_id", KEY, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_fold", LONG, nullable=True),
        sa.Column("sort", sa.BigInteger(), nullable=False),
        sa.Column("moves", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index(
        "event_location_event_id_name_once", "event_location", ["account_pk", "event_id", "name", "alive"], unique=True
    )
    op.create_table(
        "event_person",
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
        sa.Column("event_id", KEY, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_fold", LONG, nullable=True),
        sa.Column("source_id", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["event_id"], ["event.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index(
        "event_person_event_id_source_id_once",
        "event_person",
        ["account_pk", "event_id", "source_id", "alive"],
        unique=True,
    )
    op.create_table(
        "event_presenter",
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
        sa.Column("event_id", KEY, nullable=False),
        sa.Column("session_id", KEY, nullable=False),
        sa.Column("person_id", KEY, nullable=False),
        sa.Column("sort", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.pk"], initially="DEFERRED", deferrable=True),
        sa.ForeignKeyConstraint(["person_id"], ["event_person.pk"], initially="DEFERRED", deferrable=True),
        sa.ForeignKeyConstraint(["session_id"], ["event_session.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index(
        "event_presenter_event_id_session_id_person_id_once",
        "event_presenter",
        ["account_pk", "event_id", "session_id", "person_id", "alive"],
        unique=True,
    )
    op.create_table(
        "event_session",
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
        sa.Column("event_id", KEY, nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("title_fold", LONG, nullable=True),
        sa.Column("subtitle", LONG, nullable=False),
        sa.Column("subtitle_fold", LONG, nullable=True),
        sa.Column("abstract", LONG, nullable=False),
        sa.Column("description", LONG, nullable=False),
        sa.Column("language", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("slug", sa.String(length=500), nullable=False),
        sa.Column("url", LONG, nullable=False),
        sa.Column("guid", sa.String(length=64), nullable=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("tags", LONG, nullable=False),
        sa.Column("do_not_record", sa.Boolean(), nullable=False),
        sa.Column("recording_license", sa.String(length=500), nullable=False),
        sa.Column("location_id", KEY, nullable=True),
        sa.Column("track_id", KEY, nullable=True),
        sa.ForeignKeyConstraint(["event_id"], ["event.pk"], initially="DEFERRED", deferrable=True),
        sa.ForeignKeyConstraint(["location_id"], ["event_location.pk"], initially="DEFERRED", deferrable=True),
        sa.ForeignKeyConstraint(["track_id"], ["event_track.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index(
        "event_session_event_id_guid_once", "event_session", ["account_pk", "event_id", "guid", "alive"], unique=True
    )
    op.create_index(
        "event_session_event_id_starts_at", "event_session", ["account_pk", "event_id", "starts_at"], unique=False
    )
    op.create_index(
        "event_session_location_id_ends_at", "event_session", ["account_pk", "location_id", "ends_at"], unique=False
    )
    op.create_table(
        "event_track",
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
        sa.Column("event_id", KEY, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("name_fold", LONG, nullable=True),
        sa.Column("sort", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.pk"], initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("pk"),
        sa.UniqueConstraint("id"),
        **KEPT,
    )
    op.create_index(
        "event_track_event_id_name_once", "event_track", ["account_pk", "event_id", "name", "alive"], unique=True
    )


def downgrade() -> None:
    """Take it back."""
    raise RuntimeError("there is nothing before the first step; restore a backup")
