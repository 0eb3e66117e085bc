"""Presenters are found by their session."""

from __future__ import annotations

from alembic import op

revision = "events_0003"
down_revision = "events_0002"
branch_labels = None


def upgrade() -> None:
    """Do it."""
    op.create_index("event_presenter_session_id", "event_presenter", ["account_pk", "session_id", "id"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("event_presenter_session_id", table_name="event_presenter")
