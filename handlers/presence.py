"""presence.update, presence.roster, presence.status: what a session shows in a channel, who is there, and who is in the
account at all.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from channels.hall import TELEMETRY
from channels.rooms import Member, check_member
from channels.rosters import check_state
from handlers.base import Answer, Call, Needs, handles
from handlers.channels import allowed, cursor, member
from handlers.wishes import check_number, wished
from hub.wire.errors import HubError
from hub.wire.requests import PresenceRoster, PresenceStatus, PresenceUpdate
from storage.base import SIGHTS

OFFLINE: Final = "offline"


@handles(Needs.ACCOUNT)
async def update(call: Call, request: PresenceUpdate) -> Answer:
    """Change what this session shows in a channel, and what is to be done when it vanishes."""
    if request.channel not in call.session.channels:
        raise HubError("channel.unknown", "Join this channel first.", path="channel")
    if request.state is not None:
        check_state(request.state, "state")
    wishes = None
    if request.on_drop is not UNSET:
        wishes = await wished(call, request.channel, request.on_drop)
        check_number(call, request.channel, wishes)  # again: others may have been made while these were looked at
    session, live, key = call.session, call.services.live, (call.account, request.channel)
    who = member(call)
    if request.state is not None and who is not None:
        check_member(live.rosters.roster(key).get(who.key), session.id, request.state, "state")
    if request.on_drop is not UNSET:
        live.rosters.on_drop(key, session.id, wishes)
    if request.state is not None:
        live.rosters.update(key, session.id, live.hall.dressed(call.account, who, session.id, request.state))
    return Answer({})


@handles(Needs.ACCOUNT)
async def roster(call: Call, request: PresenceRoster) -> Answer:
    """Say who is in a channel, or how many; also over HTTP, and without joining."""
    session = call.peer.session if call.peer.outlet is not None else None
    known = session is not None and request.channel in session.channels
    key, channel = await allowed(call, request.channel, known=known)
    if not channel.presence:
        raise HubError("data.invalid", f"Nobody is shown in the channels of {channel.namespace}.", path="channel")
    call.rights.require(channel.seeing, "channel")
    rosters = call.services.live.rosters
    if request.count:
        return Answer({"count": len(rosters.roster(key))})
    members, last = rosters.page(key, behind(call, request.after), request.limit)
    return Answer({"members": members} if last is None else {"members": members, "next": cursor(call, last)})


def behind(call: Call, after: str | None) -> int:
    """Return behind which member a page begins; raise `cursor.invalid`, also for the cursor of another hub."""
    if after is None:
        return 0
    instance, _, number = after.rpartition(".")
    if instance != call.services.instance or not number.isdecimal() or not number.isascii() or len(number) > 15:
        text = "This cursor is of another hub, or none; begin again without it."
        raise HubError("cursor.invalid", text, path="after")
    return int(number)


@handles(Needs.ACCOUNT)
async def status(call: Call, request: PresenceStatus) -> Answer:
    """Say who is here, and when the others last were. Nothing is said of who never was, whatever else has that id."""
    asked = [(kind, rec) for kind, recs in (("user", request.users), ("device", request.devices)) for rec in recs or ()]
    if request.users is None and request.devices is None:
        raise HubError("data.invalid", "Name users or devices.", path="users")
    if len(asked) > SIGHTS:
        raise HubError("data.invalid", f"Ask for at most {SIGHTS} users and devices at a time.", path="devices")
    call.rights.require("membership.read")
    account, hall = call.account, call.services.live.hall
    present = hall.members(account)
    gone = [place for place in asked if place not in present]
    stored = await call.services.storage.last_seen(account, gone) if gone else {}
    # Who came or went meanwhile is told as they are now.
    now, present = call.services.clock(), hall.members(account)
    found: dict[str, dict[str, Any]] = {"user": {}, "device": {}}
    for kind, rec in asked:
        here = present.get((kind, rec))
        if here is None:
            # Another instance may have stored a later sight than this one has in memory.
            seen = max(hall.last_seen(account, kind, rec) or "", stored.get((kind, rec)) or "")
            if seen:
                found[kind][rec] = {"status": OFFLINE, "last_seen": seen}
        else:
            shown = here.status
            cut = hall.last_seen(account, kind, rec) if shown == "away" else None
            found[kind][rec] = {"status": shown, "last_seen": cut or now, **_said(kind, here)}
    return Answer({"users": found["user"], "devices": found["device"]})


def _said(kind: str, here: Member) -> dict[str, Any]:
    """Return what a device said of itself last."""
    if kind == "device":
        for entry in reversed(here.sessions.values()):
            if TELEMETRY in entry.state:
                return {TELEMETRY: entry.state[TELEMETRY]}
    return {}
