"""What a client wishes to be done in its name when it vanishes: `on_drop` of presence.update.

A wish is one of a few requests, without an id. It is checked as that request is when it is made, and again when it is
done: by then the caller may have lost the right, or the record may be gone. It is done under a key of its own, so that
hubs which both take it on change a record once.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec
from msgspec import structs

from channels.messages import entry_of
from channels.rooms import Who
from channels.rosters import Happening
from channels.sessions import SessionState
from handlers import people
from handlers.base import Call, Operations, Peer, Services
from handlers.channels import allowed
from handlers.records import plan
from handlers.standing import rights_in
from hub.access import Identity
from hub.wire.codec import convert
from hub.wire.errors import HubError
from hub.wire.requests import ChannelSend, ItemRef, RecordUpdate, Request, op_name

WISHES: Final = 8
"""The most wishes of a session, over all its channels."""
WISH_BYTES: Final = 4096
"""The most bytes that the wishes of a session in one channel have as JSON."""
_MAY: Final = (RecordUpdate, ChannelSend)

log: Final = logging.getLogger("hub.wishes")


class Wished(msgspec.Struct, frozen=True):
    """What is carried with an entry: who wished it, by which credential, and the requests."""

    id: str
    source: str
    credential: str | None
    user: str | None
    requests: list[dict[str, Any]]


async def wished(call: Call, channel: str, given: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """Return wishes as they are kept, None where there are none; raise what one of them would be refused with."""
    if not given:
        return None
    _check_count(call, channel, len(given))
    if len(msgspec.json.encode(given)) > WISH_BYTES:
        raise HubError("state.too_large", f"Wishes have at most {WISH_BYTES} bytes as JSON.", path="on_drop")
    for n, wish in enumerate(given):
        try:
            await _check(call, _request(wish))
        except HubError as refusal:
            refusal.path = f"on_drop.{n}.{refusal.path}" if refusal.path else f"on_drop.{n}"
            raise
    identity = call.identity
    kept = Wished(call.services.new_id(), identity.source, identity.credential, identity.user, given)
    found: dict[str, Any] = msgspec.to_builtins(kept)
    return found


def check_number(call: Call, channel: str, wishes: dict[str, Any] | None) -> None:
    """Raise `data.invalid` where a session would have too many wishes with these."""
    if wishes is not None:
        _check_count(call, channel, len(wishes["requests"]))


def _check_count(call: Call, channel: str, count: int) -> None:
    entries = call.services.live.rosters.entries(call.session.id)
    others = [entry.on_drop for key, _, entry in entries if key[1] != channel]
    if count + sum(len(other["requests"]) for other in others if other is not None) > WISHES:
        raise HubError("data.invalid", f"A session has at most {WISHES} wishes in all its channels.", path="on_drop")


def _request(wish: dict[str, Any]) -> RecordUpdate | ChannelSend:
    if "id" in wish or "key" in wish:
        raise HubError("data.invalid", "A wish has no id and no key of its own.", path="id" if "id" in wish else "key")
    request = convert({**wish, "id": 1}) if type(wish.get("op")) is str else None
    if not isinstance(request, _MAY):
        raise HubError("data.invalid", f"A wish is {' or '.join(op_name(kind) for kind in _MAY)}.", path="op")
    return request


async def _check(call: Call, request: RecordUpdate | ChannelSend) -> None:
    """Raise what the request would be refused with now."""
    if isinstance(request, ChannelSend):
        known = request.channel in call.session.channels
        _, channel = await allowed(call, request.channel, known=known, sending=True)
        if request.to is not None or not request.echo:
            raise HubError("data.invalid", "Who has vanished speaks to everybody in the channel.", path="to")
        entry_of(
            {"event": request.event, "data": request.data, "from": None},
            channel,
            None,
            None,
            echo=True,
            ttl=request.ttl,
        )
        return
    write = plan(call, request)
    if isinstance(request.rec, ItemRef):
        raise HubError("data.invalid", "$item is for items of a batch.", path="rec")
    if request.rec not in await call.get(write.type, [request.rec], verb="update"):
        raise HubError("record.not_found", path="rec")


def renewed(call: Call, session: SessionState) -> None:
    """Have the wishes of a session done with the token that it has now: the one they were made with may end first."""
    rosters, identity = call.services.live.rosters, session.identity
    for channel, _, entry in list(rosters.entries(session.id)):
        kept = entry.on_drop
        if kept is not None and entry.instance == rosters.instance and kept["credential"] != identity.credential:
            rosters.on_drop(channel, session.id, {**kept, "source": identity.source, "credential": identity.credential})


def wish_id(happening: Happening) -> str:
    """Return what names the wishes of a session, the same on every instance."""
    return str(happening.on_drop["id"])


async def fulfil(services: Services, operations: Operations, happening: Happening, done: set[int]) -> None:
    """Do what a session that vanished wished, as far as it still may; raise only what passes by itself.

    `done` holds which of the wishes need not be tried again.
    """
    kept = msgspec.convert(happening.on_drop, Wished)
    account, _ = happening.channel
    peer = await _peer(services, kept, account, happening.who)
    if peer is None:
        return
    for n, wish in enumerate(kept.requests):
        if n in done:
            continue
        request: Request = _request(wish)
        if isinstance(request, RecordUpdate):
            request = structs.replace(request, key=f"drop.{kept.id}.{n}")
        try:
            await operations.run(Call(services, peer), request)
        except HubError as refusal:
            if refusal.retry_after is not None:
                raise
            log.info("a wish of session %s (%s) is not done: %s", happening.session, op_name(request), refusal)
        done.add(n)


async def _peer(services: Services, kept: Wished, account: str, who: Who) -> Peer | None:
    """Return who wished, as they are now; None where they may not enter the account any more."""
    known = Identity(kept.source, kept.user, who.name, ((account, ""),), kept.credential)
    try:
        identity = await people.again(services, known)
        entered, role = await people.enter(services, identity, account)
        rights = await rights_in(services, identity, account)
    except HubError as refusal:
        if refusal.retry_after is not None:
            raise
        log.info("the wishes of %s %s are not done: %s", who.kind, who.rec, refusal)
        return None
    if entered is None or role is None:
        return None
    return Peer(
        identity=identity,
        account=entered["id"],
        account_name=entered["name"],
        role=role,
        rights=rights,
    )
