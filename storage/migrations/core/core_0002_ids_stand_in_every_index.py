"""Ids stand in every index."""

from __future__ import annotations

from alembic import op

revision = "core_0002"
down_revision = "core_0001"
branch_labels = None


def upgrade() -> None:
    """Do it."""
    op.create_index("account_of", "account", ["account_pk", "id"], unique=False)
    op.drop_index("api_key_of", table_name="api_key")
    op.create_index("api_key_of", "api_key", ["account_pk", "id"], unique=False)
    op.create_index("membership_of", "membership", ["account_pk", "id"], unique=False)
    op.drop_index("session_of", table_name="session")
    op.create_index("session_of", "session", ["account_pk", "id"], unique=False)
    op.drop_index("user_of", table_name="user")
    op.create_index("user_of", "user", ["account_pk", "id"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("user_of", table_name="user")
    op.create_index("user_of", "user", ["account_pk"], unique=False)
    op.drop_index("session_of", table_name="session")
    op.create_index("session_of", "session", ["account_pk"], unique=False)
    op.drop_index("membership_of", table_name="membership")
    op.drop_index("api_key_of", table_name="api_key")
    op.create_index("api_key_of", "api_key", ["account_pk"], unique=False)
    op.drop_index("account_of", table_name="account")
