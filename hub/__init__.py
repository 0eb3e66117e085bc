"""Aether Hub: the public names for authors of packs.

Loaded lazily, so that `import hub` costs nothing and lower steps of the house never load higher ones.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hub.version import VERSION

if TYPE_CHECKING:
    from hub.context import ActionWrite, ChangeRecord, Context, DeleteRecord, NewRecord
    from hub.schema.access import Access, Rows
    from hub.schema.actions import action
    from hub.schema.channels import Channel
    from hub.schema.commands import Command
    from hub.schema.core.identity import Account, User
    from hub.schema.core.lookups import Site
    from hub.schema.fields import Field, Ref
    from hub.schema.hooks import Change, Visit, after_commit, before_commit, on_join, on_leave
    from hub.schema.listed import Listed
    from hub.schema.lookups import Lookup, LookupEntry
    from hub.schema.record import Image, Record
    from hub.schema.views import Each, View
    from hub.schema.writes import Committed
    from hub.wire.errors import HubError
    from hub.wire.requests import ItemRef


__version__ = VERSION

_HOMES = {
    "Access": "hub.schema.access",
    "Account": "hub.schema.core.identity",
    "ActionWrite": "hub.context",
    "Change": "hub.schema.hooks",
    "ChangeRecord": "hub.context",
    "Channel": "hub.schema.channels",
    "Command": "hub.schema.commands",
    "Committed": "hub.schema.writes",
    "Context": "hub.context",
    "DeleteRecord": "hub.context",
    "Each": "hub.schema.views",
    "Field": "hub.schema.fields",
    "HubError": "hub.wire.errors",
    "Image": "hub.schema.record",
    "ItemRef": "hub.wire.requests",
    "Listed": "hub.schema.listed",
    "Lookup": "hub.schema.lookups",
    "LookupEntry": "hub.schema.lookups",
    "NewRecord": "hub.context",
    "Record": "hub.schema.record",
    "Ref": "hub.schema.fields",
    "Rows": "hub.schema.access",
    "Site": "hub.schema.core.lookups",
    "User": "hub.schema.core.identity",
    "View": "hub.schema.views",
    "Visit": "hub.schema.hooks",
    "action": "hub.schema.actions",
    "after_commit": "hub.schema.hooks",
    "before_commit": "hub.schema.hooks",
    "on_join": "hub.schema.hooks",
    "on_leave": "hub.schema.hooks",
}

__all__ = [
    "Access", "Account", "ActionWrite", "Change", "ChangeRecord", "Channel", "Command", "Committed",
    "Context", "DeleteRecord",
    "Each", "Field", "HubError", "Image", "ItemRef", "Listed", "Lookup", "LookupEntry", "NewRecord", "Record", "Ref",
    "Rows", "Site", "User", "View", "Visit", "action", "after_commit", "before_commit", "on_join", "on_leave",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"hub has no public name {name!r}")
    return getattr(importlib.import_module(home), name)
