"""Where the handlers are: a new module of operations is named here."""

from __future__ import annotations

from typing import Final

MODULES: Final = (
    "handlers.sessions",
    "handlers.records",
    "handlers.search",
    "handlers.aggregates",
    "handlers.batches",
    "handlers.bulk",
    "handlers.history",
    "handlers.feeds",
    "handlers.watches",
    "handlers.channels",
    "handlers.locks",
    "handlers.calls",
    "handlers.presence",
    "handlers.actions",
    "handlers.schema",
    "handlers.lookups",
    "handlers.files",
)
