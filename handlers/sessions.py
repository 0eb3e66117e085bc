"""session.hello, session.auth, session.beat: who is here, in which account, and still alive."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

import msgspec

from channels.hall import who_is
from channels.live import SessionState
from channels.presence import identity_of
from handlers import people
from handlers.base import Answer, Call, Needs, Peer, Services, handles
from handlers.domains import account_by_host
from handlers.standing import Standing, Steady, rights_in
from handlers.wishes import renewed
from hub.access import GUEST, OPERATOR, Identity, Rights
from hub.auth import proof_of
from hub.session import OPEN
from hub.wire import close
from hub.wire.codec import FRAME_BYTES, OPERATOR_FRAME_BYTES, Shared, refine
from hub.wire.errors import HubError
from hub.wire.names import public_id
from hub.wire.parts import Telemetry
from hub.wire.requests import SessionAuth, SessionBeat, SessionHello
from storage.presence import Opened

HEARTBEAT_SECONDS: Final = 20
LIMITS: Final = {
    "frame_bytes": FRAME_BYTES,
    "open_requests": OPEN,
    "batch": 1000,
    "find": 1000,
    "watches": 100,
}
BEATS: Final = 1000
"""Of how many accounts the last answer to a heartbeat is kept."""
FEATURES: Final[list[str]] = ["presence.roster"]
"""What this hub speaks beyond aether.v1."""


async def identify(call: Call, token: str | None) -> Identity:
    """Return who a token stands for; without one the operator, where the peer is, or a guest."""
    if token is not None:
        return await people.authenticate(call.services, token)
    return OPERATOR if call.peer.operator else GUEST


async def standing(call: Call, identity: Identity, wanted: str | None) -> Standing:
    """Return which account an identity enters, and what it may there; raise as `people.enter`."""
    if wanted is None:
        wanted = await account_by_host(call.services, call.peer.host, identity)
    account, role = await people.enter(call.services, identity, wanted)
    if account is None or role is None:
        return Standing(identity)
    return Standing(identity, account, role, await rights_in(call.services, identity, account["id"]))


def settle(peer: Peer, now: Standing) -> None:
    """Make an identity and its account what the peer is from now on."""
    peer.identity = now.identity
    peer.account = now.account["id"] if now.account else None
    peer.account_name = now.account["name"] if now.account else None
    peer.role = now.role
    peer.rights = now.rights
    if peer.session is not None:
        peer.session.rights = now.rights


@handles(Needs.NOTHING)
async def hello(call: Call, request: SessionHello) -> Answer:
    """Begin a session, bring one back, or switch account."""
    peer, live = call.peer, call.services.live
    if peer.outlet is None:
        raise HubError("data.invalid", "This operation needs the socket at /ws.", path="op")
    back = _resumed(call, request)
    far = _elsewhere(call, request) if back is None else None
    was = back.identity if back is not None else identity_of(far) if far is not None else None
    steady = Steady(call.services)
    if request.token is not None or was is None:
        identity = await identify(call, request.token)
    elif was is OPERATOR and not peer.operator:
        raise HubError("auth.invalid", "The operator comes back over DIR/hub.sock only.", path="resume")
    else:
        identity = await people.again(call.services, was)
    if was is not None and not _same(identity, was):
        back = far = None
    now = Standing(identity)
    if identity is not GUEST:
        wanted = request.account
        if wanted is None and (before := back or far) is not None:
            wanted = before.account
        now = await standing(call, identity, wanted)
    if back is not None and _resumed(call, request) is not back:
        back = None  # it ended, or came back elsewhere, while we looked
    secret = public_id(call.services.random(8)) + public_id(call.services.random(8))
    proof = proof_of(secret)
    account_id = now.account["id"] if now.account else None
    if far is not None:
        far = await _claimed(call, request, far) if far.account == account_id else None
    heard = live.hears_of(account_id)
    if back is not None and back.account == account_id and peer.session is None:
        _take_over(call, back)
        back.identity = identity
        live.bind(back, peer.outlet, proof)
        session = back
    elif peer.session is not None:
        session = await live.switch(peer.session, identity, account_id, proof)
    elif far is not None:
        session = SessionState(far.session, identity, account_id, proof, peer.outlet)
        session.status, session.move = far.status, far.move + 1
        await live.open(session)
    else:
        session = SessionState(call.services.new_id(), identity, account_id, proof, peer.outlet)
        await live.open(session)
    session.closing = peer.closing
    try:
        if not heard:
            now = await _confirm(call, session, now)
        while steady.again():
            now = await _confirm(call, session, now)
    except HubError:
        live.cut(session, clean=True)
        raise
    peer.session = session
    settle(peer, now)
    session.changed = lambda identity, role, rights: _changed(peer, identity, role, rights)
    renewed(call, session)
    data: dict[str, Any] = {
        "session": session.id,
        "resume": secret,
        "user": now.identity.user,
        "account": peer.account,
        "roles": [now.role] if now.role else [],
        "heartbeat": HEARTBEAT_SECONDS,
        "server": {
            "name": "aether-hub",
            "version": call.services.version,
            "instance": call.services.instance,
        },
        "now": call.services.clock(),
        "epoch": None,
        "seq": None,
        "limits": LIMITS | ({"frame_bytes": OPERATOR_FRAME_BYTES} if peer.operator else {}),
        "features": FEATURES,
        "display": {"user": now.identity.name or None, "account": peer.account_name},
    }
    if peer.account is not None:
        data["epoch"] = live.dispatcher.epoch(peer.account)
        data["seq"] = live.dispatcher.position(peer.account)
    # From behind the answer on, so that nothing overtakes it.
    return Answer(data, then=lambda: live.calls.arrive(session, who_is(session.identity)))


async def _confirm(call: Call, session: SessionState, then: Standing) -> Standing:
    """Look once more whether the credential still stands, now that its withdrawal would be heard of."""
    identity = await people.again(call.services, session.identity)
    if session.account is None or then.rights is None:
        same = identity.roles == then.identity.roles
    else:
        same = identity.role_in(session.account) == then.role
        same = (
            same and (await rights_in(call.services, identity, session.account)).fingerprint == then.rights.fingerprint
        )
    if not same or session not in call.services.live.sessions():
        raise HubError("auth.invalid", "Its rights have just changed; say session.hello again.", path="token")
    session.identity = identity
    return Standing(identity, then.account, then.role, then.rights)


def _changed(peer: Peer, identity: Identity, role: str | None, rights: Rights | None) -> None:
    """Somebody's rights are others than they were: what is asked from now on has these."""
    peer.identity, peer.role, peer.rights = identity, role, rights
    if peer.renewed is not None:
        peer.renewed()


def _resumed(call: Call, request: SessionHello) -> SessionState | None:
    if request.resume is None or call.peer.session is not None:
        return None
    return call.services.live.resumable(proof_of(request.resume))


def _elsewhere(call: Call, request: SessionHello) -> Opened | None:
    """Return the session of another instance that is to be brought back here."""
    if request.resume is None or call.peer.session is not None:
        return None
    return call.services.live.presence.elsewhere(proof_of(request.resume))


async def _claimed(call: Call, request: SessionHello, far: Opened) -> Opened | None:
    """Claim a session of another instance, which one may do, once; None where it is another's, or has ended."""
    if not await call.services.live.presence.claim(far.proof):
        return None
    found = _elsewhere(call, request)
    return found if found is not None and found.session == far.session else None


def _same(one: Identity, other: Identity) -> bool:
    """Say whether two identities are the same user, or the same key."""
    mine = one.user or one.credential
    return one.source == other.source and mine == (other.user or other.credential)


def _take_over(call: Call, session: SessionState) -> None:
    """End the socket that a session still has: its client came back on another one."""
    if session.outlet is not None:
        closing = session.closing
        call.services.live.cut(session, clean=False)
        if closing is not None:
            closing(close.RESUMED.code, close.RESUMED.reason)


async def _renewed(call: Call, token: str) -> Standing:
    """Return what somebody may with another token of theirs; raise where it is another's."""
    identity, mine, account = await people.authenticate(call.services, token), call.peer.identity, call.peer.account
    if identity.user != mine.user or (identity.user is None and identity.actor != mine.actor):
        raise HubError("auth.invalid", "This token belongs to somebody else; say session.hello instead.", path="token")
    if account is None:
        return Standing(identity)
    role = identity.role_in(account)
    if role is None:
        raise HubError("access.denied", "This token may not enter the account of this session.", path="token")
    return Standing(identity, None, role, await rights_in(call.services, identity, account))


@handles(Needs.IDENTITY)
async def renew(call: Call, request: SessionAuth) -> Answer:
    """Renew the token of a session; nothing is dropped."""
    peer, steady = call.peer, Steady(call.services)
    now = await _renewed(call, request.token)
    while steady.again():
        now = await _renewed(call, request.token)
    identity, role, rights = now.identity, now.role, now.rights
    session = peer.session
    if session is None:
        peer.identity, peer.role, peer.rights = identity, role, rights
    else:
        call.services.live.reviews.settle(session, identity, role, rights)
        call.services.live.tell_of(session)
        renewed(call, session)
    return Answer({"expires_at": identity.expires_at, "roles": [role] if role else []})


def beat_again(services: Services, peer: Peer, request: SessionBeat) -> Shared | None:
    """Answer what the last heartbeat in this account was answered, where that is still true."""
    account = peer.account
    if account is None or peer.outlet is None or services.live.windows.holding:
        return None
    if request.telemetry is not None:
        return None
    if request.status is not None and (peer.session is None or peer.session.status != request.status):
        return None  # it is news; most clients say the same with each
    seq, now = services.live.dispatcher.position(account), services.clock()
    last = services.beats.get(account)
    if last is None or last.seq != seq or last.data["now"] != now:
        if len(services.beats) >= BEATS:
            services.beats.clear()
        last = services.beats[account] = Shared({"now": now, "seq": seq}, seq)
    return last


@handles(Needs.NOTHING, beat_again)
def beat(call: Call, request: SessionBeat) -> Awaitable[Answer] | Answer:
    """Note that a client is alive."""
    peer = call.peer
    if request.telemetry is not None and peer.session is not None:
        _take_telemetry(call, peer.session, request.telemetry)
    if request.status is not None and peer.session is not None:
        peer.session.status = request.status
        call.services.live.stand(peer.session)
    if peer.account is None:
        return Answer({"now": call.services.clock(), "seq": None})
    if peer.outlet is None:
        return _beat_by_http(call, peer.account)
    seq = call.services.live.dispatcher.position(peer.account)
    return Answer({"now": call.services.clock(), "seq": seq}, seq=seq)


def _take_telemetry(call: Call, session: SessionState, telemetry: dict[str, Any]) -> None:
    """Show what a device says of itself; a person has nothing to say here. Raise `data.invalid`."""
    if call.identity.source != "key" or session.account is None:
        return
    try:
        checked = msgspec.convert(telemetry, Telemetry)
    except msgspec.ValidationError as error:
        raise refine(error, prefix="telemetry", kind=Telemetry) from None
    call.services.live.hall.say(session.account, session.id, msgspec.to_builtins(checked))


async def _beat_by_http(call: Call, account: str) -> Answer:
    head = (await call.services.storage.heads([account]))[account]
    return Answer({"now": call.services.clock(), "seq": head.seq}, seq=head.seq)
