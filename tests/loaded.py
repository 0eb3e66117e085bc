"""What `aether` and a hub import, imported: the modules of the process that `tests.forked` forks commands from."""

from __future__ import annotations

import gc
import importlib

import hub.app
from handlers.base import MODULES

_MORE = (
    "aether_client.cli.main",
    "hub.cli.main",
    "packs.events",
    "packs.events.actions",
    "rich.progress",
    "storage.mariadb.keeper",
    "storage.migrations.drafts",
    "storage.migrations.runner",
    "storage.sql.migrator",
    "uvloop",
)

for _name in (*MODULES, *hub.app.CORE, *_MORE):
    importlib.import_module(_name)
# What is here stays: no collector of a forked process looks through it, and no page of it is copied for that.
gc.collect()
gc.freeze()

__all__ = ["hub"]
