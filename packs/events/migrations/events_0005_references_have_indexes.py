"""References have indexes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "events_0005"
down_revision = "events_0004"
branch_labels = None


def upgrade() -> None:
    """Do it."""
    op.create_index(
        "event_site_id",
        "event",
        ["account_pk", "site_id", "id"],
        unique=False,
        sqlite_where=sa.text("site_id IS NOT NULL"),
    )
    op.create_index(
        "event_presenter_person_id",
        "event_presenter",
        ["account_pk", "person_id", "id"],
        unique=False,
        sqlite_where=None,
    )
    op.create_index(
        "event_session_track_id",
        "event_session",
        ["account_pk", "track_id", "id"],
        unique=False,
        sqlite_where=sa.text("track_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_index("event_session_track_id", table_name="event_session", sqlite_where=sa.text("track_id IS NOT NULL"))
    op.drop_index("event_presenter_person_id", table_name="event_presenter")
    op.drop_index("event_site_id", table_name="event", sqlite_where=sa.text("site_id IS NOT NULL"))
