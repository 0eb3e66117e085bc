"""What Alembic loads before it runs steps: on which connection, or for which database it only prints SQL."""

from __future__ import annotations

from alembic import context

_given = context.config.attributes
if context.is_offline_mode():
    context.configure(dialect_name=_given["dialect"], literal_binds=True)
else:
    context.configure(connection=_given["connection"])
with context.begin_transaction():
    context.run_migrations()
