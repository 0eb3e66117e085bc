"""Ids stand in every index."""

from __future__ import annotations

from alembic import op

revision = "events_0002"
down_revision = "events_0001"
branch_labels = None


def upgrade() -> None:
    """Do it."""
    op.create_index("event_of", "event", ["account_pk", "id"], unique=False)
    op.create_index("event_file_of", "event_file", ["account_pk", "event_id", "id"], unique=False)
    op.drop_index("event_file_sha256", table_name="event_file")
    op.create_index("event_file_sha256", "event_file", ["account_pk", "sha256", "id"], unique=False)
    op.drop_index("event_import_entity_key", table_name="event_import")
    op.create_index("event_import_entity_key", "event_import", ["account_pk", "entity", "key", "id"], unique=False)
    op.create_index("event_import_of", "event_import", ["account_pk", "event_id", "id"], unique=False)
    op.create_index("event_location_of", "event_location", ["account_pk", "event_id", "id"], unique=False)
    op.create_index("event_person_of", "event_person", ["account_pk", "event_id", "id"], unique=False)
    op.create_index("event_presenter_of", "event_presenter", ["account_pk", "event_id", "id"], unique=False)
    op.drop_index("event_session_event_id_starts_at", table_name="event_session")
    op.create_index(
        "event_session_event_id_starts_at", "event_session", ["account_pk", "event_id", "starts_at", "id"], unique=False
    )
    op.drop_index("event_session_location_id_ends_at", table_name="event_session")
    op.create_index(
        "event_session_location_id_ends_at",
        "event_session",
        ["account_pk", "location_id", "ends_at", "id"],
        unique=False,
    )
    op.create_index("event_session_of", "event_session", ["account_pk", "event_id", "id"], unique=False)
    op.create_index("event_track_of", "event_track", ["account_pk", "event_id", "id"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("event_track_of", table_name="event_track")
    op.drop_index("event_session_of", table_name="event_session")
    op.drop_index("event_session_location_id_ends_at", table_name="event_session")
    op.create_index(
        "event_session_location_id_ends_at", "event_session", ["account_pk", "location_id", "ends_at"], unique=False
    )
    op.drop_index("event_session_event_id_starts_at", table_name="event_session")
    op.create_index(
        "event_session_event_id_starts_at", "event_session", ["account_pk", "event_id", "starts_at"], unique=False
    )
    op.drop_index("event_presenter_of", table_name="event_presenter")
    op.drop_index("event_person_of", table_name="event_person")
    op.drop_index("event_location_of", table_name="event_location")
    op.drop_index("event_import_of", table_name="event_import")
    op.drop_index("event_import_entity_key", table_name="event_import")
    op.create_index("event_import_entity_key", "event_import", ["account_pk", "entity", "key"], unique=False)
    op.drop_index("event_file_sha256", table_name="event_file")
    op.create_index("event_file_sha256", "event_file", ["account_pk", "sha256"], unique=False)
    op.drop_index("event_file_of", table_name="event_file")
    op.drop_index("event_of", table_name="event")
