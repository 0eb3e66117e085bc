"""What a hub imports, imported: the modules of the process that `tests.proofs.warm` forks hubs from."""

from __future__ import annotations

import importlib

import hub.app
import hub.cli.main
from handlers.base import MODULES

for _name in (*MODULES, *hub.app.CORE, "packs.events", "packs.events.actions", "storage.sql.sqlite", "uvloop"):
    importlib.import_module(_name)

__all__ = ["hub"]
