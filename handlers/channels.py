"""channel.join, channel.leave, presence.update: who is here."""

from __future__ import annotations

from channels.rosters import ChannelKey, Who, check_state
from handlers.base import Answer, Call, Needs, handles
from hub.schema.access import rank
from hub.schema.record import RecordType
from hub.wire.errors import HubError
from hub.wire.names import split_channel
from hub.wire.requests import ChannelJoin, ChannelLeave, PresenceUpdate

CHANNELS_PER_SOCKET = 100


async def allowed(call: Call, name: str) -> ChannelKey:
    """Return the channel of a name that the caller may join; raise `channel.unknown` or `access.denied`."""
    parts = split_channel(name)
    if parts is None:
        raise HubError("channel.unknown", "A channel is named namespace:id.", path="channel")
    namespace, rec = parts
    registry = call.services.registry
    if namespace in registry.types:
        kind = call.kind(namespace, "read", path="channel")
        await _look(call, kind, rec)
    elif namespace in registry.channels:
        if call.peer.role is None or rank(call.peer.role) < rank(registry.channels[namespace].join):
            raise HubError("access.denied", f"Role {call.peer.role} may not join {namespace}.", path="channel")
    else:
        raise HubError("channel.unknown", path="channel")
    return call.account, name


async def _look(call: Call, kind: RecordType, rec: str) -> None:
    """Raise `channel.unknown` where the record is not there, now that its deletion would be heard of."""
    live, heard = call.services.live, -1
    while heard != live.deletions:  # else what was read may have been deleted, and its channel ended, meanwhile
        heard = live.deletions
        if rec not in await call.services.storage.get(call.account, kind, [rec]):
            raise HubError("channel.unknown", path="channel")


def member(call: Call) -> Who | None:
    """Return how the caller is shown to others, or None for the operator, who is not."""
    identity = call.identity
    if identity.user is not None:
        return Who("user", identity.user, identity.name)
    if identity.source == "key" and identity.credential is not None:
        return Who("device", identity.credential, identity.name)
    return None


@handles(Needs.ACCOUNT)
async def join(call: Call, request: ChannelJoin) -> Answer:
    """Hear a channel; with `presence`, be seen there."""
    session = call.session
    channel = await allowed(call, request.channel)
    session = call.session  # once more: the account may have changed while the record was looked up
    if request.channel not in session.channels and len(session.channels) >= CHANNELS_PER_SOCKET:
        raise HubError("rate.limited", f"A socket joins at most {CHANNELS_PER_SOCKET} channels.", retry_after=1)
    state = None
    if request.presence is not None:
        state = request.presence.state
        check_state(state, "presence.state")
    live = call.services.live
    outlet = session.outlet
    if outlet is None:
        raise HubError("data.invalid", "The socket is gone.", path="op")
    now = call.services.clock()
    members, version = live.rosters.join(channel, outlet, session.id, member(call), state, now, session.status)
    session.channels.add(request.channel)
    return Answer(
        {
            "members": members,
            "version": version,
            "epoch": call.services.instance,
            "offset": 0,
            "recovered": request.recover is not None
            and request.recover.epoch == call.services.instance
            and request.recover.offset == 0,
        }
    )


@handles(Needs.ACCOUNT)
async def leave(call: Call, request: ChannelLeave) -> Answer:
    """Leave a channel at once."""
    session = call.session
    if request.channel not in session.channels or session.outlet is None:
        raise HubError("channel.unknown", "This session is not in that channel.", path="channel")
    call.services.live.rosters.leave((call.account, request.channel), session.outlet, session.id)
    session.channels.discard(request.channel)
    return Answer({})


@handles(Needs.ACCOUNT)
async def update(call: Call, request: PresenceUpdate) -> Answer:
    """Change what this session shows in a channel."""
    session = call.session
    if request.channel not in session.channels:
        raise HubError("channel.unknown", "Join this channel first.", path="channel")
    if request.state is not None:
        check_state(request.state, "state")
        call.services.live.rosters.update((call.account, request.channel), session.id, request.state)
    return Answer({})
