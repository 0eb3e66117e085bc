"""An id is one of its account.

Ids were unique in a table, by an index of their own beside the one that has those of an account in order. Now one
index does both. SQLite holds a unique of a table's declaration for as long as the table, so it makes the tables anew.
"""

from __future__ import annotations

from alembic import op

revision = "core_0007"
down_revision = "core_0006"
branch_labels = None

TABLES = (
    "membership",
    "api_key",
    "site",
    "lookup_row",
    "lookup_policy",
)
ROOTS = ("membership", "api_key", "site", "lookup_row", "lookup_policy")
"""Those with nothing above them: the ids of the account in order are all that `_of` has."""
NAMES = {"uq": "unique_%(column_0_name)s"}


def upgrade() -> None:
    """Do it."""
    for table in TABLES:
        op.create_index(f"{table}_ids", table, ["account_pk", "id"], unique=True)
        if op.get_context().dialect.name == "sqlite":
            with op.batch_alter_table(table, recreate="always", naming_convention=NAMES) as batch:
                batch.drop_constraint("unique_id", type_="unique")
        else:
            op.drop_index("id", table_name=table)
        if table in ROOTS:
            op.drop_index(f"{table}_of", table_name=table)


def downgrade() -> None:
    """Take it back."""
    for table in TABLES:
        if table in ROOTS:
            op.create_index(f"{table}_of", table, ["account_pk", "id"], unique=False)
        if op.get_context().dialect.name == "sqlite":
            with op.batch_alter_table(table, recreate="always") as batch:
                batch.create_unique_constraint("unique_id", ["id"])
        else:
            op.create_index("id", table, ["id"], unique=True)
        op.drop_index(f"{table}_ids", table_name=table)
