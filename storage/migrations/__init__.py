"""Migrations: steps that change what is stored, an Alembic branch for the core and one for each pack that has them.

`branches` finds the steps and says which of them a database needs, `stamps` are what it has had, `runner` runs them
through Alembic, `drift` compares what they make with what is declared, `drafts` writes the next one. Both keepers on
disk use them when they settle their schema. Decision 0019, docs/migrations.md.
"""

from __future__ import annotations

import logging

# What it does is said by the keepers; set before it is loaded, since it talks while that happens.
logging.getLogger("alembic").setLevel(logging.WARNING)
