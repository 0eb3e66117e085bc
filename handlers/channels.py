"""channel.join, channel.leave, channel.send: who is here, and what is said."""

from __future__ import annotations

from typing import Any, Final, Literal

from channels.hall import who_is
from channels.locks import shown
from channels.messages import entry_of, told_of
from channels.outlet import Outlet
from channels.rooms import MemberKey, check_member
from channels.rosters import ChannelKey, Who, check_state
from channels.sessions import SessionState
from handlers.base import Answer, Call, Needs, handles
from hub.schema.channels import Channel
from hub.schema.record import RecordType
from hub.wire.errors import HubError
from hub.wire.names import split_channel
from hub.wire.parts import RosterOf, Target
from hub.wire.requests import ChannelJoin, ChannelLeave, ChannelSend
from storage.channel_log import Place

CHANNELS_PER_SOCKET: Final = 100


async def allowed(call: Call, name: str, *, known: bool = False, sending: bool = False) -> tuple[ChannelKey, Channel]:
    """Return the channel of a name that the caller may join or send to; raise `channel.unknown` or `access.denied`.

    `known`: the caller is in it, so that its record is there.
    """
    parts = split_channel(name)
    if parts is None:
        raise HubError("channel.unknown", "A channel is named namespace:id.", path="channel")
    namespace, rec = parts
    channel = call.services.registry.channel(namespace)
    kind = None
    if channel.record is not None:
        kind = call.kind(namespace, "read", path="channel")
    else:
        call.rights.require(channel.joining, "channel")
    if sending:
        call.rights.require(channel.sending, "channel")
    if kind is not None and not known:
        await _look(call, kind, rec)
    return (call.account, name), channel


async def _look(call: Call, kind: RecordType, rec: str) -> None:
    """Raise `channel.unknown` where the record is not there, now that its deletion would be heard of."""
    live, heard = call.services.live, -1
    while heard != live.deletions:  # else what was read may have been deleted, and its channel ended, meanwhile
        heard = live.deletions
        if rec not in await call.get(kind, [rec]):
            raise HubError("channel.unknown", path="channel")


def member(call: Call) -> Who | None:
    """Return how the caller is shown to others, or None for the operator, who is not."""
    return who_is(call.identity)


@handles(Needs.ACCOUNT)
async def join(call: Call, request: ChannelJoin) -> Answer:
    """Hear a channel; with `presence`, be seen there."""
    session = call.session
    key, channel = await allowed(call, request.channel)
    session = call.session  # once more: the account may have changed while the record was looked up
    _check_count(session, request.channel)
    state = None
    if request.presence is not None:
        state = request.presence.state
        check_state(state, "presence.state")
        if not channel.presence:
            raise HubError("data.invalid", f"Nobody is shown in the channels of {channel.namespace}.", path="presence")
    live = call.services.live
    outlet = session.outlet
    if outlet is None:
        raise HubError("data.invalid", "The socket is gone.", path="op")
    who, recover = member(call), request.recover
    after = Place(recover.epoch, recover.offset) if recover is not None and channel.history else None
    sees = channel.presence and call.rights.allows(channel.seeing)
    past = await live.messages.join(key, outlet, session.id, who, channel, after, sees=sees)
    if call.moved or session.outlet is not outlet:
        live.messages.leave(key, outlet)
        raise HubError("action.cancelled", "The session has changed its account meanwhile.")
    try:
        call.check_rights()
        _check_count(session, request.channel)  # again: what was asked beside this may have been answered meanwhile
        if who is not None and state is not None:
            check_member(live.rosters.roster(key).get(who.key), session.id, state, "presence.state")
    except HubError:
        _out(call, session, outlet, request.channel)
        raise
    members: list[dict[str, Any]] = []
    version = 0
    if channel.presence:
        now = call.services.clock()
        state = None if state is None else live.hall.dressed(call.account, who, session.id, state)
        only, counts = _told_of(request.roster), request.roster == "count"
        members, version = live.rosters.join(
            key, outlet, session.id, who, state, now, session.status,
            sees=sees and request.roster != "none", only=only, counts=counts,
        )  # fmt: skip
    session.channels.add(request.channel)
    data: dict[str, Any] = {
        "members": members,
        "version": version,
        "epoch": past.place.epoch,
        "offset": past.place.offset,
        "recovered": past.recovered,
    }
    roster = live.rosters.roster(key)
    if sees and channel.presence and request.roster == "count":
        data["count"] = len(roster)
    elif members and request.roster == "full" and len(members) < len(roster):
        last = members[-1]
        data |= {"count": len(roster), "next": cursor(call, roster[last["kind"], last["rec"]].number)}
    namespace, _, rec = request.channel.partition(":")
    lock = live.locks.held((call.account, namespace, rec)) if sees and channel.record is not None else None
    if lock is not None:
        data["lock"] = shown(lock)
    if past.entries:
        data["messages"] = [told_of(entry) for entry in past.entries]
    if past.why is not None:
        data["why"] = past.why
    return Answer(data)


def _told_of(wanted: str | RosterOf) -> frozenset[MemberKey] | None:
    """Return the members that somebody wants to be told of, None for all."""
    if isinstance(wanted, str):
        return None
    return frozenset({*(("user", rec) for rec in wanted.users), *(("device", rec) for rec in wanted.devices)})


def cursor(call: Call, number: int) -> str:
    """Return what names the place behind a member in a roster, as this hub pages it."""
    return f"{call.services.instance}.{number}"


def _check_count(session: SessionState, channel: str) -> None:
    if channel not in session.channels and len(session.channels) >= CHANNELS_PER_SOCKET:
        raise HubError("rate.limited", f"A socket joins at most {CHANNELS_PER_SOCKET} channels.", retry_after=1)


def _out(call: Call, session: SessionState, outlet: Outlet, channel: str) -> None:
    """Take a session out of a channel, as far as it is in it."""
    key = (call.account, channel)
    call.services.live.rosters.leave(key, outlet, session.id)
    call.services.live.messages.leave(key, outlet)
    session.channels.discard(channel)


@handles(Needs.ACCOUNT)
async def leave(call: Call, request: ChannelLeave) -> Answer:
    """Leave a channel at once."""
    session = call.session
    if request.channel not in session.channels or session.outlet is None:
        raise HubError("channel.unknown", "This session is not in that channel.", path="channel")
    _out(call, session, session.outlet, request.channel)
    return Answer({})


@handles(Needs.ACCOUNT)
async def send(call: Call, request: ChannelSend) -> Answer:
    """Say something in a channel, with its history where it has one; also over HTTP."""
    session = call.peer.session if call.peer.outlet is not None else None
    if session is not None:
        session = call.session  # raises where the account has changed meanwhile
    known = session is not None and request.channel in session.channels
    key, channel = await allowed(call, request.channel, known=known, sending=True)
    to = None if request.to is None else target_of(request.to)
    sender = None if session is None else session.id
    who = member(call) if channel.named else None
    body = {
        "event": request.event,
        "data": request.data,
        "from": None if who is None else {"kind": who.kind, "rec": who.rec, "name": who.name, "session": sender},
    }
    entry = entry_of(body, channel, sender, to, echo=request.echo, ttl=request.ttl)
    offset, then = await call.services.live.messages.send(key, channel, entry, call.peer.outlet)
    return Answer({"offset": offset} if offset else {}, then=then)


def target_of(target: Target) -> tuple[Literal["session", "user", "device"], str]:
    """Return the kind and the id of a target; raise `data.invalid` unless it names exactly one."""
    kinds: tuple[Literal["session", "user", "device"], ...] = ("session", "user", "device")
    given = [(kind, rec) for kind in kinds if (rec := getattr(target, kind)) is not None]
    if len(given) != 1:
        raise HubError("data.invalid", "Name exactly one session, user or device.", path="to")
    return given[0]
