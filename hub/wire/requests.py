"""The requests of the wire: one frozen struct per operation, its tag is the operation's name.

A request that this table does not hold answers `op.unknown`. Limits that a type can express stand in
the type. Source: DESIGN.md section 4. `docs/operations.md` is generated from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hub.wire.parts import (
    ChannelName,
    ClientInfo,
    CountCap,
    EventName,
    FeedName,
    FeedSince,
    Fields,
    Key,
    Language,
    Limit,
    Order,
    PresenceEntry,
    PublicId,
    Recover,
    RequestId,
    RosterOf,
    Since,
    Target,
    Text,
    TypeName,
    Where,
)


class RecordRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record as the wire refers to it."""

    type: TypeName
    rec: PublicId


class ItemRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"item": "$item"}):
    """Stands, inside a batch, for the id that item n created (0-based)."""

    item: Annotated[int, Meta(ge=0, le=999)]


class ParentRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parent; inside a batch its id may be that of an earlier item."""

    type: TypeName
    rec: PublicId | ItemRef


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", kw_only=True):
    """What every request has: `id`, unique among the client's open requests."""

    id: RequestId


class Write(Request, frozen=True, kw_only=True):
    """A request that changes records; `key` makes it safe to repeat for 24 hours."""

    key: Key | None = None


class SessionHello(Request, frozen=True, tag="session.hello", forbid_unknown_fields=False, kw_only=True):
    """Begin, or switch account. First message of a socket, within 10 seconds; no token = guest."""

    token: Annotated[str, Meta(max_length=8192)] | None = None
    account: Text | None = None
    client: ClientInfo | None = None
    resume: Annotated[str, Meta(max_length=200)] | None = None


class SessionAuth(Request, frozen=True, tag="session.auth", kw_only=True):
    """Renew the token; nothing is dropped."""

    token: Annotated[str, Meta(max_length=8192)]


class SessionBeat(Request, frozen=True, tag="session.beat", kw_only=True):
    """Say that the client is alive; the answer carries the account's `seq`."""

    status: Literal["active", "idle", "away"] | None = None
    telemetry: dict[str, Any] | None = None


class RecordGet(Request, frozen=True, tag="record.get", kw_only=True):
    """Read one record."""

    type: TypeName
    rec: PublicId
    fields: Fields | None = None
    include: dict[str, Any] | None = None
    view: TypeName | None = None
    deleted: bool = False


class RecordFind(Request, frozen=True, tag="record.find", kw_only=True):
    """Read the records that match, a page at a time."""

    type: TypeName
    where: Where | None = None
    parent: RecordRef | None = None
    order: Order | None = None
    fields: Fields | None = None
    include: dict[str, Any] | None = None
    limit: Limit = 50
    after: Annotated[str, Meta(max_length=4096)] | None = None
    count: bool | Literal["exact"] | CountCap = False
    view: TypeName | None = None
    deleted: bool = False


class RecordSearch(Request, frozen=True, tag="record.search", kw_only=True):
    """Find records by words, over all types or some, a page at a time."""

    q: Annotated[str, Meta(min_length=1, max_length=200)]
    types: Annotated[list[TypeName], Meta(min_length=1, max_length=50)] | None = None
    where: Where | None = None
    limit: Limit = 50
    after: Annotated[str, Meta(max_length=4096)] | None = None


class RecordAggregate(Request, frozen=True, tag="record.aggregate", kw_only=True):
    """Count and add up the records that match, over all of them or by the values of a field."""

    type: TypeName
    where: Where | None = None
    parent: RecordRef | None = None
    group: TypeName | None = None
    values: dict[str, Any]
    limit: Limit = 1000


class RecordCreate(Write, frozen=True, tag="record.create", kw_only=True):
    """Create a record."""

    type: TypeName
    data: dict[str, Any]
    parent: ParentRef | None = None


class RecordUpsert(Write, frozen=True, tag="record.upsert", kw_only=True):
    """Create a record, or update the one that a declared unique finds."""

    type: TypeName
    data: dict[str, Any]
    match: Annotated[list[TypeName], Meta(min_length=1, max_length=8)]
    parent: ParentRef | None = None


class RecordUpdate(Write, frozen=True, tag="record.update", kw_only=True):
    """Replace the given fields of a record."""

    type: TypeName
    rec: PublicId | ItemRef
    data: dict[str, Any]
    if_version: Annotated[int, Meta(ge=1)] | None = None


class RecordDelete(Write, frozen=True, tag="record.delete", kw_only=True):
    """Delete a record: softly, so that it can be restored, or `hard`, so that nothing of it is left."""

    type: TypeName
    rec: PublicId
    if_version: Annotated[int, Meta(ge=1)] | None = None
    mode: Literal["soft", "hard"] = "soft"


class RecordRestore(Write, frozen=True, tag="record.restore", kw_only=True):
    """Bring a deleted record back."""

    type: TypeName
    rec: PublicId


class RecordRevert(Write, frozen=True, tag="record.revert", kw_only=True):
    """Give a record the values that it had as an earlier version."""

    type: TypeName
    rec: PublicId
    version: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class RecordMove(Write, frozen=True, tag="record.move", kw_only=True):
    """Put a record under another parent."""

    type: TypeName
    rec: PublicId | ItemRef
    parent: ParentRef


class RecordUpdateWhere(Write, frozen=True, tag="record.update_where", kw_only=True):
    """Replace the given fields of every record that matches, or of none where that is more than `limit`."""

    type: TypeName
    where: Where
    data: dict[str, Any]
    limit: Limit


class RecordDeleteWhere(Write, frozen=True, tag="record.delete_where", kw_only=True):
    """Delete softly every record that matches, or none where that is more than `limit`."""

    type: TypeName
    where: Where
    limit: Limit


class RecordHistory(Request, frozen=True, tag="record.history", kw_only=True):
    """Read what became of a record, the newest change first."""

    type: TypeName
    rec: PublicId
    limit: Limit = 50
    after: Annotated[str, Meta(max_length=4096)] | None = None


class RecordBatch(Write, frozen=True, tag="record.batch", kw_only=True):
    """Do up to 1,000 writes as one commit: all or none, or (`atomic: false`) each that can be done."""

    ops: list[dict[str, Any]]
    atomic: bool = True


class WatchStart(Request, frozen=True, tag="watch.start", kw_only=True):
    """Receive a snapshot, then every change of what matches."""

    type: TypeName
    where: Where | None = None
    parent: RecordRef | None = None
    order: Order | None = None
    fields: Fields | None = None
    limit: Limit | None = None
    since: Since | None = None
    include: Any | UnsetType = UNSET
    view: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET
    count: Any | UnsetType = UNSET
    deleted: Any | UnsetType = UNSET


class WatchStop(Request, frozen=True, tag="watch.stop", kw_only=True):
    """Stop a watch."""

    watch: Text


class FeedStart(Request, frozen=True, tag="feed.start", kw_only=True):
    """Receive every change of the account behind the position of a named feed, a bounded number at a time."""

    name: FeedName
    since: Annotated[int, Meta(ge=0, le=2**53 - 1)] | FeedSince | None = None


class FeedAck(Request, frozen=True, tag="feed.ack", kw_only=True):
    """Keep that everything up to `seq` is done; a feed that is started again goes on behind it."""

    name: FeedName
    seq: Annotated[int, Meta(ge=0, le=2**53 - 1)]


class FeedStop(Request, frozen=True, tag="feed.stop", kw_only=True):
    """Stop a feed; its position is kept unless it is to be forgotten."""

    name: FeedName
    forget: bool = False


class ChannelJoin(Request, frozen=True, tag="channel.join", kw_only=True):
    """Join a channel; with `presence`, be seen there."""

    channel: ChannelName
    presence: PresenceEntry | None = None
    recover: Recover | None = None
    roster: Literal["full", "count", "none"] | RosterOf = "full"


class ChannelLeave(Request, frozen=True, tag="channel.leave", kw_only=True):
    """Leave a channel at once."""

    channel: ChannelName


class ChannelSend(Request, frozen=True, tag="channel.send", kw_only=True):
    """Send a message to who is in a channel; kept there for who comes back, where the namespace says so."""

    channel: ChannelName
    event: EventName
    data: Any
    to: Target | None = None
    echo: bool = True
    ttl: Annotated[float, Meta(gt=0, le=604_800)] | None = None


class PresenceUpdate(Request, frozen=True, tag="presence.update", kw_only=True):
    """Change what this session shows in a channel; `on_drop` is what is done in its name when it vanishes."""

    channel: ChannelName
    state: dict[str, Any] | None = None
    on_drop: Annotated[list[dict[str, Any]], Meta(max_length=8)] | UnsetType | None = UNSET


class LockTake(Request, frozen=True, tag="lock.take", kw_only=True):
    """Hold the lock of a record for a lease, `steal` it where another session does."""

    type: TypeName
    rec: PublicId
    steal: bool = False


class LockKeep(Request, frozen=True, tag="lock.keep", kw_only=True):
    """Hold a lock for another lease."""

    type: TypeName
    rec: PublicId


class LockRelease(Request, frozen=True, tag="lock.release", kw_only=True):
    """Let a lock go."""

    type: TypeName
    rec: PublicId


class ClientCall(Request, frozen=True, tag="client.call", kw_only=True):
    """Ask another client of the account to do something, and wait for its answer."""

    to: Target
    command: TypeName
    data: dict[str, Any] = {}
    timeout: Annotated[float, Meta(gt=0, le=300)] = 10.0
    queue_seconds: Annotated[float, Meta(gt=0, le=86_400)] | None = None


class ClientReply(Request, frozen=True, tag="client.reply", kw_only=True):
    """Answer a command: with data, or with the code and the sentence of a refusal."""

    command: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    data: Any = None
    code: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.]{0,63}\Z")] | None = None
    message: Annotated[str, Meta(max_length=1000)] | None = None


class PresenceRoster(Request, frozen=True, tag="presence.roster", kw_only=True):
    """Read who is in a channel, a page at a time, or how many."""

    channel: ChannelName
    limit: Limit = 1000
    after: Annotated[str, Meta(max_length=100)] | None = None
    count: bool = False


class PresenceStatus(Request, frozen=True, tag="presence.status", kw_only=True):
    """Say who of these users and devices is here, and when the others last were; at most 1,000 together."""

    users: Annotated[list[PublicId], Meta(max_length=1000)] | None = None
    devices: Annotated[list[PublicId], Meta(max_length=1000)] | None = None


class ActionCall(Request, frozen=True, tag="action.call", kw_only=True):
    """Run an action and wait for its result."""

    action: Text
    target: RecordRef | None = None
    args: dict[str, Any] = {}
    mode: Literal["wait", "background"] = "wait"
    timeout: Annotated[float, Meta(gt=0, le=3600)] | None = None
    key: Key | None = None


class SchemaDescribe(Request, frozen=True, tag="schema.describe", kw_only=True):
    """Describe the types and actions that this session may use."""

    types: Annotated[list[TypeName], Meta(max_length=200)] | None = None
    have: Text | None = None


class LookupList(Request, frozen=True, tag="lookup.list", rename={"for_": "for"}, kw_only=True):
    """List the entries of a lookup that are in force, for the account or for a record of it."""

    lookup: TypeName
    for_: RecordRef | None = None
    q: Text | None = None
    part_of: Text | None = None
    language: Language | None = None
    only_priority: bool = False
    include_disabled: bool = False
    limit: Limit = 1000
    after: Annotated[str, Meta(max_length=4096)] | None = None


class LookupResolve(Request, frozen=True, tag="lookup.resolve", rename={"for_": "for"}, kw_only=True):
    """Find the one entry of a lookup that a code, a name or an alias means."""

    lookup: TypeName
    q: Annotated[str, Meta(min_length=1, max_length=200)]
    for_: RecordRef | None = None
    part_of: Text | None = None
    language: Language | None = None


class FileGrant(Request, frozen=True, tag="file.grant", kw_only=True):
    """Get a signed relative URL for the bytes of one hash."""

    hash: Text | None = None
    type: TypeName | None = None
    rec: PublicId | None = None
    ttl: Annotated[int, Meta(ge=1, le=300)] = 60


class ManifestGet(Request, frozen=True, tag="manifest.get", kw_only=True):
    """Get the files of a container with their hashes."""

    container: RecordRef


REQUESTS: tuple[type[Request], ...] = (
    SessionHello, SessionAuth, SessionBeat,
    RecordGet, RecordFind, RecordAggregate, RecordSearch, RecordCreate, RecordUpsert, RecordUpdate, RecordDelete,
    RecordMove, RecordRestore, RecordRevert, RecordUpdateWhere, RecordDeleteWhere, RecordHistory, RecordBatch,
    FeedStart, FeedAck, FeedStop, WatchStart, WatchStop, ChannelJoin, ChannelLeave, ChannelSend,
    PresenceUpdate, PresenceRoster, PresenceStatus, LockTake, LockKeep, LockRelease, ClientCall, ClientReply,
    LookupList, LookupResolve, ActionCall, SchemaDescribe, FileGrant, ManifestGet,
)  # fmt: skip

BY_NAME: dict[str, type[Request]] = {str(r.__struct_config__.tag): r for r in REQUESTS}

BATCHABLE: dict[str, type[Write]] = {
    f"record.{name}": BY_NAME[f"record.{name}"]  # type: ignore[misc]  # each of these is a Write
    for name in ("create", "upsert", "update", "move", "delete", "restore", "revert")
}


def op_name(request: Request | type[Request]) -> str:
    """Return the operation's name of a request or its class."""
    return str(request.__struct_config__.tag)
