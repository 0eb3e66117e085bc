"""What `aether` and a hub import, imported: the modules of the process that `tests.forked` forks commands from."""

from __future__ import annotations

import gc
import importlib

import hub.app
from handlers.modules import MODULES
from hub.settings import Settings
from tests.prepared import prepared_once

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
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.h11_impl",
    "uvloop",
)

for _name in (*MODULES, *hub.app.CORE, *_MORE):
    importlib.import_module(_name)
# So are the tables and statements of the types that most hubs have; those of other types are worked out as ever.
_prepared = prepared_once()
_prepared.__enter__()
_settings = Settings()
hub.app.keeper_of(_settings, hub.app.registry_of(_settings))
# What is here stays: no collector of a forked process looks through it, and no page of it is copied for that.
gc.collect()
gc.freeze()

__all__ = ["hub"]
