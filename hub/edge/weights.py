"""How the requests of a socket are run, and what each counts for while it runs."""

from __future__ import annotations

from typing import Final

from hub.wire.requests import (
    ActionCall,
    ClientCall,
    ClientReply,
    FileGrant,
    LookupList,
    LookupResolve,
    ManifestGet,
    PresenceRoster,
    PresenceStatus,
    PresenceUpdate,
    RecordAggregate,
    RecordBatch,
    RecordCreate,
    RecordDelete,
    RecordFind,
    RecordGet,
    RecordHistory,
    RecordSearch,
    RecordUpdate,
    RecordUpsert,
    Request,
    SchemaDescribe,
    SessionBeat,
    WatchStart,
)

DEARER: Final[dict[type[Request], int]] = {PresenceUpdate: 24}
"""How many requests more than one these count as when a socket buys its requests: everybody in the channel is told."""
UNCOMMON: Final = 4
"""As how many frames one counts that is no whole message: its parser costs more."""
FRAME_SHARE: Final = 4096
"""For how many bytes of its payload such a frame counts as one more: compressed, it holds a thousand times its size."""
TASKS: Final = (ActionCall, FileGrant, ManifestGet)
"""Requests that run as a task from the start: they may use time-outs before they first wait."""
LIGHT: Final = frozenset(
    {
        SessionBeat,
        ClientCall,
        ClientReply,
        RecordGet,
        RecordFind,
        RecordCreate,
        RecordUpsert,
        RecordUpdate,
        RecordDelete,
        RecordBatch,
    }
)
"""Requests that never need a task: they wait for nothing but futures."""
_PAGES: Final = (
    RecordFind,
    RecordSearch,
    RecordHistory,
    RecordAggregate,
    WatchStart,
    ManifestGet,
    SchemaDescribe,
    LookupList,
    PresenceRoster,
    PresenceStatus,
)
_LONG: Final = (ActionCall, ClientCall)
WEIGHTS: Final[dict[type[Request], int]] = {
    **dict.fromkeys(_LONG, 0),
    **dict.fromkeys((*_PAGES, LookupResolve), 8),
}
"""What a running request counts for; 1 where nothing is said. Actions and calls run long and answer little; a
record with what it includes is an eighth of a page at most."""
