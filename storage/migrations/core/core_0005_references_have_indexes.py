"""References have indexes."""

from __future__ import annotations

from alembic import op

revision = "core_0005"
down_revision = "core_0004"
branch_labels = None


def upgrade() -> None:
    """Do it."""
    op.create_index("session_user_id", "session", ["account_pk", "user_id", "id"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("session_user_id", table_name="session")
